//! Objects as they are stored, whether or not this version can read them. (Pure.)
//!
//! One object of another version's making would else fail the list that a watch begins with, and with it the work on
//! all others. (kube's `DeserializeGuard` keeps the metadata alone; whether an experiment holds its pool stands in the
//! rest.)

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use std::borrow::Cow;

/// An object of the kind `K`.
#[derive(Clone, Debug)]
pub enum Stored<K> {
    /// It was understood.
    Read(Box<K>),
    /// It was not.
    Unreadable(Box<Unreadable>),
}

/// An object that this version does not understand.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Its metadata: these have the same form in all versions.
    pub metadata: ObjectMeta,
    /// Where it is not understood, and why: `spec.trials: invalid type: …`.
    pub error: String,
    /// All of it.
    pub raw: Value,
}

impl<K> Stored<K> {
    /// The object, where it was understood.
    #[must_use]
    pub fn read(&self) -> Option<&K> {
        match self {
            Self::Read(object) => Some(object),
            Self::Unreadable(_) => None,
        }
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        let error = match serde_path_to_error::deserialize::<_, K>(&raw) {
            Ok(object) => return Ok(Self::Read(Box::new(object))),
            Err(error) => error.to_string(),
        };
        let metadata = raw.get("metadata").unwrap_or(&Value::Null);
        let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
        let raw = raw.clone();
        Ok(Self::Unreadable(Box::new(Unreadable {
            metadata,
            error,
            raw,
        })))
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unreadable(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::Experiment;
    use kube::ResourceExt;
    use kube::core::ObjectList;
    use serde_json::json;

    fn experiment(name: &str, ttl: Value) -> Value {
        json!({
            "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
            "metadata": {"name": name, "namespace": "n", "uid": name},
            "spec": {
                "backends": [{"name": "m", "minio": {"version": "v"}}],
                "workloads": [{"name": "c", "consistency": {}}],
                "ttlSecondsAfterFinished": ttl,
            },
        })
    }

    #[test]
    fn one_that_cannot_be_read_is_named_and_the_others_are_read() {
        let list = json!({
            "apiVersion": "bakeoff.dev/v1alpha1", "kind": "ExperimentList", "metadata": {},
            "items": [experiment("a", json!(60)), experiment("b", json!("soon")), {"metadata": {"name": "c"}, "spec": 3}],
        });
        let strict = serde_json::from_value::<ObjectList<Experiment>>(list.clone());
        assert!(strict.is_err(), "what this is for");
        let list: ObjectList<Stored<Experiment>> = serde_json::from_value(list).unwrap();
        let names: Vec<String> = list.items.iter().map(|item| item.name_any()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(matches!(&list.items[0], Stored::Read(_)));
        let errors = list.items.iter().filter_map(|item| match item {
            Stored::Unreadable(object) => Some(object.error.as_str()),
            Stored::Read(_) => None,
        });
        let errors: Vec<&str> = errors.collect();
        assert!(
            errors[0].starts_with("spec.ttlSecondsAfterFinished: "),
            "{errors:?}"
        );
        assert!(errors[1].starts_with("spec: "), "{errors:?}");
    }
}
