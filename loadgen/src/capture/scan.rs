//! Whether a statement reads a whole table. (Pure, but for asking the server.)

use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Client;

use super::{Bounds, CaptureError};

/// A table that is read from one end to the other without being told so, where it is no larger than this.
const SMALL_BYTES: i64 = 16 << 20;

/// Refuses a statement that reads all of a table that is not small.
pub(super) async fn refuse(
    client: &Client,
    select: &str,
    bounds: &Bounds,
) -> Result<(), CaptureError> {
    if bounds.scans {
        return Ok(());
    }
    let asking = CaptureError::server("asking how it would be read");
    let rows = client
        .query(&format!("EXPLAIN (VERBOSE, FORMAT JSON) {select}"), &[])
        .await
        .map_err(&asking)?;
    for row in rows {
        let Json(plan) = row.try_get(0).map_err(&asking)?;
        for scanned in scanned(&plan) {
            let size = client
                .query_opt(
                    "SELECT pg_relation_size(c.oid), greatest(c.reltuples, 0)::bigint FROM pg_class c \
                     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                    &[&scanned.schema, &scanned.table],
                )
                .await
                .map_err(&asking)?;
            let (bytes, rows): (i64, i64) = size.map_or((0, 0), |row| (row.get(0), row.get(1)));
            if bytes > SMALL_BYTES {
                return Err(CaptureError::Refused(format!(
                    "all of {:?} would be read ({} MB, some {rows} rows): name a time with --from and --to that an index finds, or say \
                     --allow-scan",
                    scanned.table,
                    bytes >> 20
                )));
            }
        }
    }
    Ok(())
}

/// A table that is read from one end to the other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Scanned {
    #[serde(rename = "Schema")]
    schema: String,
    #[serde(rename = "Relation Name")]
    table: String,
}

/// The tables of a plan that are read so, wherever in it.
fn scanned(plan: &Value) -> Vec<Scanned> {
    let mut found = Vec::new();
    let mut ahead = vec![plan];
    while let Some(node) = ahead.pop() {
        match node {
            Value::Array(all) => ahead.extend(all),
            Value::Object(fields) => {
                if fields
                    .get("Node Type")
                    .is_some_and(|kind| kind == "Seq Scan")
                {
                    found.extend(Scanned::deserialize(node).ok());
                }
                ahead.extend(fields.values());
            }
            _ => {}
        }
    }
    found
}

/// A column of type `json`, of which the library hands out the bytes.
struct Json(Value);

impl<'a> tokio_postgres::types::FromSql<'a> for Json {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    fn accepts(of: &tokio_postgres::types::Type) -> bool {
        *of == tokio_postgres::types::Type::JSON
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_found_however_deep_it_lies() {
        let scan = serde_json::json!({"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "log", "Parallel Aware": true});
        let index = serde_json::json!({"Node Type": "Index Scan", "Schema": "public", "Relation Name": "runs"});
        let plan = serde_json::json!([{"Plan": {"Node Type": "Limit", "Plans": [{"Node Type": "Gather", "Plans": [scan, index]}]}}]);
        let log = Scanned {
            schema: "public".to_owned(),
            table: "log".to_owned(),
        };
        assert_eq!(scanned(&plan), [log]);
        assert_eq!(scanned(&serde_json::json!([{"Plan": index}])), []);
    }
}
