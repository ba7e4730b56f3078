//! The extension pgstattuple, which reads a table whole: where it is, and whether the user may call it.

use super::{Patient, failure, identifier};
use crate::failure::Failure;

/// The extension in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    schema: String,
    /// Whether the user may look into the schema.
    usage: bool,
    /// Whether the user may call the functions.
    execute: bool,
}

impl Extension {
    /// As this project makes it.
    #[must_use]
    pub fn own() -> Self {
        Self {
            schema: "bakeoff".to_owned(),
            usage: true,
            execute: true,
        }
    }

    /// The name of a function of it, whatever the search path.
    #[must_use]
    pub fn function(&self, name: &str) -> String {
        format!("{}.{name}", identifier(&self.schema))
    }

    /// The statement without which the user may not call it.
    pub(super) fn mend(&self, user: &str) -> Option<String> {
        let mut mend = Vec::new();
        if !self.usage {
            let schema = identifier(&self.schema);
            mend.push(format!("GRANT USAGE ON SCHEMA {schema} TO {user};"));
        }
        if !self.execute {
            mend.push(format!("GRANT pg_stat_scan_tables TO {user};"));
        }
        (!mend.is_empty()).then(|| mend.join(" "))
    }
}

/// Where it is, if it is in the database. It is nobody's business in which schema; the functions that are called are those of
/// a table and of an index.
///
/// # Errors
/// When the server does not answer.
pub async fn found(client: Patient<'_>) -> Result<Option<Extension>, Failure> {
    let row = client
        .query_opt(
            "SELECT n.nspname::text, has_schema_privilege(n.oid, 'USAGE'), coalesce((SELECT bool_and(has_function_privilege(p.oid, 'EXECUTE')) \
             FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname IN ('pgstattuple', 'pgstatindex') \
             AND p.proargtypes = array_to_string(ARRAY['regclass'::regtype::oid], ' ')::oidvector), true) \
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pgstattuple'",
            &[],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let read = || {
        Ok(Extension {
            schema: row.try_get(0)?,
            usage: row.try_get(1)?,
            execute: row.try_get(2)?,
        })
    };
    read().map(Some).map_err(|error| failure(&error))
}

/// Whether its package is on the server.
pub(super) async fn available(client: Patient<'_>) -> Result<bool, Failure> {
    let row = client
        .query_opt(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'pgstattuple'",
            &[],
        )
        .await?;
    Ok(row.is_some())
}

/// Makes it in the schema of the run, with which it goes again.
pub(super) async fn create(client: Patient<'_>) -> Result<(), Failure> {
    let sql = "CREATE SCHEMA IF NOT EXISTS bakeoff; CREATE EXTENSION IF NOT EXISTS pgstattuple SCHEMA bakeoff";
    client.at_length().batch_execute(sql).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_granted_by_name() {
        let found = |usage, execute| Extension {
            schema: "my extensions".to_owned(),
            usage,
            execute,
        };
        assert_eq!(found(true, true).mend("u"), None);
        assert_eq!(
            found(false, false).mend("u").unwrap(),
            "GRANT USAGE ON SCHEMA \"my extensions\" TO u; GRANT pg_stat_scan_tables TO u;"
        );
        assert_eq!(
            found(true, true).function("pgstattuple"),
            "\"my extensions\".pgstattuple"
        );
    }
}
