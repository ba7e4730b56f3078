//! What a run asks of an S3 server.

use std::collections::BTreeMap;
use std::time::Duration;

use bakeoff_crds::result::BackendUsage;
use bakeoff_crds::run::ResolvedBackend;

use super::ListRequest;
use super::dialer::Dialer;
use super::{metrics, probe};
use crate::drivers::driver::{Driver, Waiting};
use crate::drivers::observation::Observation;
use crate::drivers::probe::ProbeError;
use crate::failure::{Failure, Remedy};
use crate::store::{self, StoreError};

/// The setting of a bucket that says whether it keeps versions.
pub const VERSIONING: &str = "versioning";

impl Driver for Dialer {
    fn probe<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        patience: Duration,
    ) -> Waiting<'a, Result<(), ProbeError>> {
        let may_create = at.provisioned;
        Box::pin(probe::wait(
            &at.name, self, &at.prefix, may_create, patience,
        ))
    }

    fn refusal<'a>(&'a self, at: &'a ResolvedBackend) -> Waiting<'a, Option<String>> {
        Box::pin(async {
            let below = format!("{}/", at.prefix.trim_matches('/'));
            let request = ListRequest {
                prefix: if below == "/" { "" } else { &below },
                max_keys: 1,
                ..ListRequest::default()
            };
            let failure = self.connection().list(&request).await.err()?;
            (failure.remedy.as_deref() == Some(&Remedy::Credentials)).then(|| failure.to_string())
        })
    }

    fn observe<'a>(&'a self, at: &'a ResolvedBackend) -> Waiting<'a, Option<Observation>> {
        Box::pin(async {
            if let Some(only) = &at.metrics_url {
                return Some(metrics::observe(only).await?.into());
            }
            let mut seen = Observation::default();
            for pod in &at.pods {
                // All or none: one that is not seen may have been restarted.
                let process = metrics::observe(pod.metrics_url.as_deref()?).await?;
                seen.0.insert(pod.name.clone(), process);
            }
            (!seen.0.is_empty()).then_some(seen)
        })
    }

    fn observable(&self, at: &ResolvedBackend) -> bool {
        at.shows_its_process()
    }

    fn usage(&self, before: &Observation, after: &Observation) -> Option<BackendUsage> {
        Some(after.usage_since(before))
    }

    fn place(&self) -> (&str, u16) {
        (&self.target().host, self.target().port)
    }

    fn habits(&self) -> (&'static str, &'static str) {
        if self.unsigned() {
            (
                "s3",
                "HTTP/1.1, one connection a worker, kept open, TCP_NODELAY; signed by SigV4 with UNSIGNED-PAYLOAD; no \
                 checksum headers; each request is sent once",
            )
        } else {
            (
                "s3 with signed payloads",
                "HTTP/1.1, one connection a worker, kept open, TCP_NODELAY; signed by SigV4 with the SHA-256 of each body, \
                 which costs the generator CPU time; no checksum headers; each request is sent once",
            )
        }
    }

    /// Of a bucket alone whether it keeps versions, where it says so: what it is not allowed to say is not known.
    fn settings(&self) -> Waiting<'_, Result<BTreeMap<String, String>, Failure>> {
        Box::pin(async {
            let mut connection = self.connection();
            let kept = connection.versioning().await.ok().flatten();
            let said = kept.map(|status| (VERSIONING.to_owned(), status));
            Ok(said.into_iter().collect())
        })
    }

    fn clean<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        prefix: &'a str,
    ) -> Waiting<'a, Result<u64, StoreError>> {
        let keys = &self.target().credentials;
        let client = store::client(&at.endpoint, &at.region, at.path_style, keys);
        Box::pin(async move { store::remove_all(&client, &at.bucket, prefix).await })
    }
}
