//! Writes the status of an owner. (I/O.)

use super::Writer;
use crate::error::{Error, api};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::core::object::HasStatus;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// At most one write of an owner's status in this time, unless it is urgent.
const INTERVAL: Duration = Duration::from_secs(2);

/// What came of a status that is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It stood already.
    Stood,
    /// It stands now.
    Now,
    /// It may be written when so much has passed.
    In(Duration),
}

impl Writer {
    /// Writes the status unless it stands already.
    ///
    /// # Errors
    /// The API server refused, or another replica may lead.
    pub async fn write_status<K>(
        &self,
        owner: &K,
        id: &Identity,
        status: &K::Status,
        urgent: bool,
    ) -> Result<Written, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + HasStatus
            + DeserializeOwned
            + Clone
            + Debug,
        K::Status: Serialize + PartialEq + Default,
    {
        let stands = match owner.status() {
            Some(before) => before == status,
            None => *status == K::Status::default(),
        };
        if stands {
            return Ok(Written::Stood);
        }
        if !urgent {
            let last = self.memory().written.get(&id.uid).copied();
            if let Some(left) = last.and_then(|at| INTERVAL.checked_sub(at.elapsed())) {
                return Ok(Written::In(left));
            }
        }
        // Against the version that was read, always: an apply from a stale cache would take away facts that
        // were remembered meanwhile.
        let metadata = json!({
            "name": id.name, "uid": id.uid, "resourceVersion": owner.resource_version(),
        });
        let body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status,
        });
        let owners = self.api::<K>(id.namespace.as_str())?;
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let written = owners
            .patch_status(&id.name, &parameters, &Patch::Apply(&body))
            .await;
        self.status_writes.inc();
        written.map_err(api("write the status"))?;
        let now = Instant::now();
        self.memory().written.insert(id.uid.clone(), now);
        Ok(Written::Now)
    }
}
