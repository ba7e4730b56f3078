//! Puts the finalizer on an owner and takes it off. (I/O.)

use super::Writer;
use crate::error::{Error, api, is_missing};
use crate::owner::Owner;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

impl Writer {
    /// Against the version that was read: other finalizers stay.
    pub(super) async fn finalizer<K>(&self, owner: &K, id: &Identity, on: bool) -> Result<(), Error>
    where
        K: Owner + DeserializeOwned + Clone + Debug,
    {
        let others = owner.finalizers().iter();
        let others = others.filter(|finalizer| *finalizer != names::FINALIZER);
        let mut finalizers: Vec<String> = others.cloned().collect();
        if on {
            finalizers.push(names::FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {"resourceVersion": owner.resource_version(), "finalizers": finalizers}});
        let owners = self.api::<K>(id.namespace.as_str())?;
        let parameters = PatchParams::default();
        match owners
            .patch(&id.name, &parameters, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(api("change the finalizers")(error)),
        }
    }
}
