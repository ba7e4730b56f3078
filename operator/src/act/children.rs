//! Makes and removes objects. (I/O.)

use super::Writer;
use crate::children::Object;
use crate::error::{Error, api, is_missing};
use bakeoff_crds::identity::Namespace;
use bakeoff_crds::names;
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

impl Writer {
    pub(super) async fn apply<K: Object>(
        &self,
        namespace: &Namespace,
        object: &K,
    ) -> Result<(), Error> {
        let name = object.meta().name.clone().unwrap_or_default();
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let objects = self.api::<K>(namespace.as_str())?;
        match objects
            .patch(&name, &parameters, &Patch::Apply(object))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(api(format!("apply {} {name}", K::kind(&())))(error)),
        }
    }

    pub(super) async fn delete<K>(&self, namespace: &Namespace, name: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..Default::default()
        };
        let objects = self.api::<K>(namespace.as_str())?;
        match objects.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(api(format!("delete {} {name}", K::kind(&())))(error)),
        }
    }
}
