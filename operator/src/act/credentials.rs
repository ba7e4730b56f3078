//! Makes the Secrets that servers and generators share. (I/O.)

use super::Writer;
use crate::action::Credentials;
use crate::error::{Error, api, exists_already};
use crate::settings::DefaultResults;
use bakeoff_crds::identity::Namespace;
use bakeoff_crds::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PostParams;
use std::collections::BTreeMap;

impl Writer {
    /// A Secret that exists is left alone: credentials are drawn once.
    pub(super) async fn create_secret(
        &self,
        namespace: &Namespace,
        mut secret: Secret,
        content: Credentials,
    ) -> Result<(), Error> {
        secret.data = Some(match (content, &self.results) {
            (Credentials::Drawn, _) => BTreeMap::from([
                (names::SECRET_ACCESS_KEY_ID.to_owned(), random_hex(10)?),
                (names::SECRET_SECRET_ACCESS_KEY.to_owned(), random_hex(20)?),
                (names::SECRET_OF_NODES.to_owned(), random_hex(32)?),
            ]),
            (Credentials::OfResultsStore, Some(store)) => self.credentials_of(store).await?,
            (Credentials::OfResultsStore, None) => return Ok(()),
        });
        let parameters = PostParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..Default::default()
        };
        let secrets = self.api::<Secret>(namespace.as_str())?;
        match secrets.create(&parameters, &secret).await {
            Ok(_) => Ok(()),
            Err(error) if exists_already(&error) => Ok(()),
            Err(error) => Err(api(format!("create Secret {}", secret.name_any()))(error)),
        }
    }

    /// What the generators need of the Secret of the chart's results store.
    async fn credentials_of(
        &self,
        store: &DefaultResults,
    ) -> Result<BTreeMap<String, ByteString>, Error> {
        let own = self.api::<Secret>(&self.own_namespace)?;
        let source = own
            .get(&store.secret)
            .await
            .map_err(api(format!("read Secret {}", store.secret)))?;
        let data = source.data.unwrap_or_default();
        let needed = [names::SECRET_ACCESS_KEY_ID, names::SECRET_SECRET_ACCESS_KEY];
        let authorities = store.ca_key.as_deref();
        let lacking = needed.into_iter().chain(authorities);
        if let Some(key) = lacking.into_iter().find(|&key| !data.contains_key(key)) {
            return Err(Error::ResultsSecret(store.secret.clone(), key.to_owned()));
        }
        let wanted = |key: &str| {
            needed.contains(&key) || key == names::SECRET_SESSION_TOKEN || authorities == Some(key)
        };
        Ok(data.into_iter().filter(|(key, _)| wanted(key)).collect())
    }
}

/// Random bytes of the operating system, in hexadecimal.
fn random_hex(bytes: usize) -> Result<ByteString, Error> {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer).map_err(|error| Error::Random(error.to_string()))?;
    let text: String = buffer.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ByteString(text.into_bytes()))
}
