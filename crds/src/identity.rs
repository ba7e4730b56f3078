//! What an object of the cluster is known by. A name is not taken for a uid, nor a uid for a namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($($(#[doc = $doc:tt])+ $name:ident,)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(String);

            impl $name {
                /// As the API server writes it.
                #[must_use]
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl From<&str> for $name {
                fn from(text: &str) -> Self {
                    Self(text.to_owned())
                }
            }

            impl From<String> for $name {
                fn from(text: String) -> Self {
                    Self(text)
                }
            }

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

text! {
    /// A namespace.
    Namespace,
    /// What tells an object from one of the same name that was there before.
    Uid,
}

/// Which object of its kind: results and children of another uid are never touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The namespace.
    pub namespace: Namespace,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: Uid,
}

impl Identity {
    /// That of an object, unless it has none yet.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            namespace: Namespace(metadata.namespace.clone()?),
            name: metadata.name.clone()?,
            uid: Uid(metadata.uid.clone()?),
        })
    }

    /// `<namespace>/<name>/<uid>`: the folder of an experiment's run in the results store.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.name, self.uid)
    }
}
