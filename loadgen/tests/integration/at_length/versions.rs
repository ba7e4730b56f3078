//! The versions of Postgres that are supported tell the same of themselves. Needs BAKEOFF_POSTGRES_16 and BAKEOFF_POSTGRES_17 beside
//! BAKEOFF_POSTGRES. Other tests are run on each of them by `dev/test integration`, which names them.

use crate::external_postgres::{resolved, secret, url};
use crate::ordinary_role::tried;
use crate::support::postgres::Postgres;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::Verdict;
use bakeoff_loadgen::run::Backend;
use std::collections::BTreeSet;

/// Columns moved to other views (`pg_stat_checkpointer` in 17, `pg_stat_io` in 18), and their figures are there all the same. How
/// long autovacuum was at a table is counted from 18 on, which a soak reads: before it a caveat says so.
#[test]
fn every_version_tells_every_figure_that_it_counts() {
    let mut told: Vec<(String, BTreeSet<Figure>)> = Vec::new();
    for (variable, version) in [
        ("BAKEOFF_POSTGRES_16", "16."),
        ("BAKEOFF_POSTGRES_17", "17."),
        ("BAKEOFF_POSTGRES", "18."),
    ] {
        let server = Postgres::start_of(variable);
        let folder = secret(&url(&server, "127.0.0.1", "disable"), None);
        let backend = Backend::of_url(resolved(&server, &folder, "u")).unwrap();
        let (record, manifest) = tried(&backend, 60).unwrap();
        assert_eq!(record.verdict, Verdict::Valid, "{variable}");
        let at = &manifest.plan.backends[0];
        let own = at.settings["server_version"].clone();
        assert!(own.starts_with(version), "{variable}: {own}");
        let absent: Vec<_> = at
            .caveats
            .iter()
            .filter(|said| said.contains("does not tell"))
            .collect();
        let expected = if version == "18." { 0 } else { 1 };
        assert_eq!(absent.len(), expected, "{own}: {absent:?}");
        let named =
            |said: &&String| said.contains("not tell: how long autovacuum was at the table. ");
        assert!(absent.iter().all(named), "{own}: {absent:?}");
        told.push((own, record.figures.keys().copied().collect()));
    }
    let (newest, all) = told.pop().unwrap();
    for (version, figures) in told {
        let differing: Vec<_> = all.symmetric_difference(&figures).collect();
        assert!(differing.is_empty(), "{version}, {newest}: {differing:?}");
    }
}
