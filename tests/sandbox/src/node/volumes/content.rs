//! What is in the volumes whose content comes from the API: ConfigMaps, Secrets, tokens, and the
//! pod's own fields.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection,
};
use kube::{Api, Client, ResourceExt as _};

use super::owner::Owner;
use super::tokens::Tokens;
use crate::node::fields::{Placed, pod_field};

/// What OpenShift's API server puts into every pod, and an operator of OpenShift's fills. Without
/// that operator it is missing or empty, and pods start without it: none of them asked for it.
const OPENSHIFT_SERVICE_CA: &str = "openshift-service-ca.crt";

/// A volume's files by path.
pub(super) type Files = BTreeMap<String, File>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// Contents by path.
type Parts = BTreeMap<String, Vec<u8>>;

/// Gets what volumes are made of, for one pod.
#[derive(Clone)]
pub(crate) struct Source {
    client: Client,
    pod: Arc<Pod>,
    addrs: Vec<IpAddr>,
    node_addrs: Vec<IpAddr>,
    tokens: Tokens,
}

impl Source {
    pub(crate) fn new(
        client: Client,
        pod: Arc<Pod>,
        addrs: Vec<IpAddr>,
        node_addrs: Vec<IpAddr>,
    ) -> Self {
        let tokens = Tokens::default();
        Self {
            client,
            pod,
            addrs,
            node_addrs,
            tokens,
        }
    }

    /// A volume's files; `None` if it is of another kind.
    ///
    /// # Errors
    /// When something it names isn't there, or the API doesn't give it.
    pub(super) async fn files(
        &mut self,
        volume: &Volume,
        owner: &Owner,
    ) -> anyhow::Result<Option<Files>> {
        let (parts, mode) = if let Some(map) = &volume.config_map {
            let parts = self
                .config_map(&map.name, map.items.as_deref(), map.optional)
                .await?;
            (parts, map.default_mode)
        } else if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let parts = self
                .secret(name, secret.items.as_deref(), secret.optional)
                .await?;
            (parts, secret.default_mode)
        } else if let Some(downward) = &volume.downward_api {
            (
                self.fields(downward.items.as_deref())?,
                downward.default_mode,
            )
        } else if let Some(projected) = &volume.projected {
            let mut files = Files::new();
            for source in projected.sources.iter().flatten() {
                let some = with_mode(self.projection(source).await?, projected.default_mode);
                files.extend(some);
                if let Some(token) = &source.service_account_token {
                    let file = files.get_mut(&token.path).expect("it was just added");
                    file.mode = owner.token_mode(file.mode);
                }
            }
            return Ok(Some(files));
        } else {
            return Ok(None);
        };
        Ok(Some(with_mode(parts, mode)))
    }

    async fn projection(&mut self, source: &VolumeProjection) -> anyhow::Result<Parts> {
        if let Some(token) = &source.service_account_token {
            let content = self.tokens.get(&self.client, &self.pod, token).await?;
            Ok([(token.path.clone(), content.into_bytes())].into())
        } else if let Some(map) = &source.config_map {
            let optional = map.optional == Some(true) || map.name == OPENSHIFT_SERVICE_CA;
            self.config_map(&map.name, map.items.as_deref(), Some(optional))
                .await
        } else if let Some(secret) = &source.secret {
            self.secret(&secret.name, secret.items.as_deref(), secret.optional)
                .await
        } else if let Some(downward) = &source.downward_api {
            self.fields(downward.items.as_deref())
        } else {
            bail!("a projected source of this kind is not supported on this node")
        }
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> anyhow::Result<Parts> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let said = || format!("configmap {name:?}");
        let found = api.get_opt(name).await.with_context(said)?;
        let data = found.map(|map| {
            let texts = map.data.into_iter().flatten();
            let texts = texts.map(|(key, text)| (key, text.into_bytes()));
            let bytes = map.binary_data.into_iter().flatten();
            texts
                .chain(bytes.map(|(key, ByteString(bytes))| (key, bytes)))
                .collect()
        });
        select(data, items, optional).with_context(said)
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> anyhow::Result<Parts> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let said = || format!("secret {name:?}");
        let found = api.get_opt(name).await.with_context(said)?;
        let data = found.map(|secret| {
            let data = secret.data.into_iter().flatten();
            data.map(|(key, ByteString(bytes))| (key, bytes)).collect()
        });
        select(data, items, optional).with_context(said)
    }

    fn fields(&self, items: Option<&[DownwardAPIVolumeFile]>) -> anyhow::Result<Parts> {
        let placed = Placed {
            pod: &self.pod,
            addrs: &self.addrs,
            node_addrs: &self.node_addrs,
        };
        let parts = items.unwrap_or_default().iter().map(|item| {
            let field = item.field_ref.as_ref();
            let field = field.with_context(|| format!("{} names no field", item.path))?;
            let value = pod_field(placed, &field.field_path);
            let value = value.map_err(|error| anyhow!("{}: {error}", item.path))?;
            Ok((item.path.clone(), value.into_bytes()))
        });
        parts.collect()
    }
}

fn with_mode(parts: Parts, mode: Option<i32>) -> Files {
    let mode = u32::try_from(mode.unwrap_or(0o644)).unwrap_or(0o644) & 0o777;
    let files = parts
        .into_iter()
        .map(|(path, content)| (path, File { content, mode }));
    files.collect()
}

/// All keys, or those of `items` at their paths.
fn select(
    data: Option<Parts>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> anyhow::Result<Parts> {
    let optional = optional == Some(true);
    let Some(mut data) = data else {
        return if optional {
            Ok(Parts::new())
        } else {
            Err(anyhow!("not found"))
        };
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data);
    };
    let mut parts = Parts::new();
    for item in items {
        match data.remove(&item.key) {
            Some(content) => drop(parts.insert(item.path.clone(), content)),
            None if optional => {}
            None => bail!("references non-existent key {:?}", item.key),
        }
    }
    Ok(parts)
}
