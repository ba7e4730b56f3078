//! Makes and removes objects. (I/O.)

use super::Writer;
use crate::children::Object;
use crate::error::{Error, api, exists_already, is_missing};
use bakeoff_crds::identity::{Identity, Namespace};
use bakeoff_crds::names;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What a pod that is killed has to end, seconds. Not 0: then the next one of its name would be made before it has ended.
const KILL_SECONDS: u32 = 1;

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

    /// Ends a pod and has nobody wait for it: what stands beside its server kills that before Kubernetes asks it to stop. Another pod
    /// of the name is left alone.
    pub(super) async fn kill(
        &self,
        namespace: &Namespace,
        pod: &str,
        uid: &str,
    ) -> Result<(), Error> {
        let parameters = DeleteParams {
            grace_period_seconds: Some(KILL_SECONDS),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..Default::default()
        };
        let pods = self.api::<Pod>(namespace.as_str())?;
        match pods.delete(pod, &parameters).await {
            Ok(_) => Ok(()),
            // It is gone, and perhaps another one is there.
            Err(error) if is_missing(&error) || exists_already(&error) => Ok(()),
            Err(error) => Err(api(format!("kill Pod {pod}"))(error)),
        }
    }

    /// Deletes an owner as it was read. Another one of its name, or one that was changed meanwhile, is looked at anew.
    pub(super) async fn delete_owner<K>(&self, owner: &K, id: &Identity) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let metadata = owner.meta();
        let as_read = Preconditions {
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        };
        match self
            .remove::<K>(&id.namespace, &id.name, Some(as_read))
            .await
        {
            Err(Error::Conflict(_)) => Ok(()),
            removed => removed,
        }
    }

    pub(super) async fn delete<K>(&self, namespace: &Namespace, name: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        self.remove::<K>(namespace, name, None).await
    }

    async fn remove<K>(
        &self,
        namespace: &Namespace,
        name: &str,
        preconditions: Option<Preconditions>,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions,
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
