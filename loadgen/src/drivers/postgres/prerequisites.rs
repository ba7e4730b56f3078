//! What an experiment needs of a server, asked before anything is measured: what is missing is said with the statement that
//! mends it, and what merely cannot be seen is a caveat.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::extension::{self, Extension};
use super::sample_query::Askable;
use super::{Connector, Patient, failure, identifier, pooler};
use crate::drivers::driver::Needs;
use crate::drivers::error::PrerequisiteError;
use crate::failure::Failure;

/// What the user may do, and how many connections there are.
struct Rights {
    user: String,
    sees_others: bool,
    checkpoints: bool,
    /// Each bound of connections: how many are free below it, in words, and what raises it.
    bounds: Vec<(i64, String, String)>,
}

/// A role that the server does not have is a right that nobody has. Reserved connections came with 16, `pg_checkpoint` with 15.
const RIGHTS: &str = "WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user), \
    held AS (SELECT rolname::text AS name FROM pg_roles WHERE pg_has_role(current_user, oid, 'USAGE')), \
    used AS (SELECT count(*) AS every, count(*) FILTER (WHERE usesysid = (SELECT oid FROM me)) AS of_role, \
      count(*) FILTER (WHERE datname = current_database()) AS of_database \
      FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL AND pid <> pg_backend_pid()) \
    SELECT current_user::text, rolsuper, \
      rolsuper OR EXISTS (SELECT 1 FROM held WHERE name = 'pg_read_all_stats'), \
      rolsuper OR EXISTS (SELECT 1 FROM held WHERE name = 'pg_checkpoint'), \
      rolsuper OR EXISTS (SELECT 1 FROM held WHERE name = 'pg_use_reserved_connections'), \
      current_setting('max_connections')::int8, current_setting('superuser_reserved_connections')::int8, \
      coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int8, \
      rolconnlimit::int8, (SELECT datconnlimit::int8 FROM pg_database WHERE datname = current_database()), \
      every, of_role, of_database FROM me, used";

impl Rights {
    async fn of(client: Patient<'_>, database: &str) -> Result<Self, Failure> {
        let row = client.query_one(RIGHTS, &[]).await?;
        Self::read(&row, database)
    }

    fn read(row: &Row, database: &str) -> Result<Self, Failure> {
        let text = |at| {
            row.try_get::<_, String>(at)
                .map_err(|error| failure(&error))
        };
        let yes = |at| row.try_get::<_, bool>(at).map_err(|error| failure(&error));
        let number = |at| row.try_get::<_, i64>(at).map_err(|error| failure(&error));
        let user = identifier(&text(0)?);
        let superuser = yes(1)?;
        let (most, for_superusers, reserved) = (number(5)?, number(6)?, number(7)?);
        let (of_role, of_database) = (number(8)?, number(9)?);
        let (used, used_by_role, used_in_database) = (number(10)?, number(11)?, number(12)?);
        let kept = if superuser { 0 } else { for_superusers } + if yes(4)? { 0 } else { reserved };
        let mut bounds = vec![(
            most - kept - used,
            format!("max_connections {most}, of which {kept} are reserved and {used} in use"),
            "raise max_connections and restart the server".to_owned(),
        )];
        // Neither holds for superusers; -1 is no limit.
        if of_role >= 0 && !superuser {
            bounds.push((
                of_role - used_by_role,
                format!("the user's limit of {of_role}, of which {used_by_role} are in use"),
                format!("ALTER ROLE {user} CONNECTION LIMIT -1"),
            ));
        }
        if of_database >= 0 && !superuser {
            bounds.push((
                of_database - used_in_database,
                format!(
                    "the database's limit of {of_database}, of which {used_in_database} are in use"
                ),
                format!(
                    "ALTER DATABASE {} CONNECTION LIMIT -1",
                    identifier(database)
                ),
            ));
        }
        Ok(Self {
            user,
            sees_others: yes(2)?,
            checkpoints: yes(3)?,
            bounds,
        })
    }

    /// Refuses a load that the server would turn away in part.
    fn connections(&self, needed: usize) -> Result<(), PrerequisiteError> {
        let needed = i64::try_from(needed).unwrap_or(i64::MAX);
        match self.bounds.iter().min_by_key(|(free, _, _)| *free) {
            Some((free, of_what, mend)) if *free < needed => Err(PrerequisiteError::Connections {
                needed,
                free: (*free).max(0),
                of_what: of_what.clone(),
                mend: mend.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// What cannot be seen or done without a right that the user lacks.
    fn caveats(&self) -> Vec<String> {
        let mut caveats = Vec::new();
        if !self.sees_others {
            caveats.push(format!(
                "the user does not see other sessions, so the oldest transaction, lock waits, the time with autovacuum at the \
                 table and what holds back the removal of dead rows are not known in full: GRANT pg_read_all_stats TO {};",
                self.user
            ));
        }
        if !self.checkpoints {
            caveats.push(format!(
                "the user may not force a checkpoint, so that of what was loaded may fall into a window: from version 15 on \
                 GRANT pg_checkpoint TO {};",
                self.user
            ));
        }
        caveats
    }
}

/// Asks for all of it; answers the caveats.
///
/// # Errors
/// What keeps the experiment from being measured, with what mends it.
pub async fn check(connector: &Connector, needs: Needs) -> Result<Vec<String>, PrerequisiteError> {
    let address = || connector.address().to_owned();
    let unanswered = |failure| PrerequisiteError::Unanswered {
        address: address(),
        failure,
    };
    let client = connector.connect().await.map_err(unanswered)?;
    let asking = Patient::of(&client);
    let database = connector.database();
    let rights = Rights::of(asking, database).await.map_err(unanswered)?;
    rights.connections(needs.connections)?;
    pooler::carries(connector, &client, needs.connections).await?;
    if !needs.tables {
        return Ok(Vec::new());
    }
    let found = match extension::found(asking).await.map_err(unanswered)? {
        Some(found) => found,
        None => {
            if !extension::available(asking).await.map_err(unanswered)? {
                return Err(PrerequisiteError::PackageMissing { address: address() });
            }
            match extension::create(asking).await {
                Ok(()) => {}
                Err(said)
                    if said.code.as_deref() == Some(SqlState::INSUFFICIENT_PRIVILEGE.code()) =>
                {
                    return Err(PrerequisiteError::ExtensionMissing {
                        database: database.to_owned(),
                        user: rights.user,
                        said: Box::new(said),
                    });
                }
                Err(failure) => return Err(unanswered(failure)),
            }
            let made = extension::found(asking).await.map_err(unanswered)?;
            made.unwrap_or_else(Extension::own)
        }
    };
    if let Some(mend) = found.mend(&rights.user) {
        return Err(PrerequisiteError::ExtensionForbidden {
            database: database.to_owned(),
            mend,
        });
    }
    let mut caveats = rights.caveats();
    let askable = Askable::of(asking).await.map_err(unanswered)?;
    caveats.extend(askable.caveat());
    Ok(caveats)
}
