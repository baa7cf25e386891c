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
use crate::node::fields::{Placed, container_resource, pod_field};

/// A volume's files by path.
pub(super) type Files = BTreeMap<String, File>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

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
        Self {
            client,
            pod,
            addrs,
            node_addrs,
            tokens: Tokens::default(),
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
        if let Some(map) = &volume.config_map {
            let files = self.config_map(&map.name, map.items.as_deref(), map.optional);
            return Ok(Some(with_mode(files.await?, map.default_mode)));
        }
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let files = self.secret(name, secret.items.as_deref(), secret.optional);
            return Ok(Some(with_mode(files.await?, secret.default_mode)));
        }
        if let Some(downward) = &volume.downward_api {
            let files = self.fields(downward.items.as_deref().unwrap_or_default())?;
            return Ok(Some(with_mode(files, downward.default_mode)));
        }
        let Some(projected) = &volume.projected else {
            return Ok(None);
        };
        let mut files = Files::new();
        for source in projected.sources.iter().flatten() {
            let some = self.projection(source).await?;
            let mut some = with_mode(some, projected.default_mode);
            if let Some(token) = &source.service_account_token {
                some.entry(token.path.clone())
                    .and_modify(|file| file.mode = owner.token_mode(file.mode));
            }
            files.extend(some);
        }
        Ok(Some(files))
    }

    async fn projection(&mut self, source: &VolumeProjection) -> anyhow::Result<Parts> {
        if let Some(token) = &source.service_account_token {
            let content = self.tokens.get(&self.client, &self.pod, token).await?;
            return Ok([(token.path.clone(), (content.into_bytes(), None))].into());
        }
        if let Some(map) = &source.config_map {
            return self
                .config_map(&map.name, map.items.as_deref(), map.optional)
                .await;
        }
        if let Some(secret) = &source.secret {
            return self
                .secret(&secret.name, secret.items.as_deref(), secret.optional)
                .await;
        }
        match &source.downward_api {
            Some(downward) => self.fields(downward.items.as_deref().unwrap_or_default()),
            None => bail!("a projected source of this kind is not supported on this node"),
        }
    }

    fn namespace(&self) -> String {
        self.pod.namespace().unwrap_or_default()
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> anyhow::Result<Parts> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace());
        let found = api
            .get_opt(name)
            .await
            .with_context(|| format!("get configmap {name:?}"))?;
        let data = found.map(|map| {
            let texts = map
                .data
                .into_iter()
                .flatten()
                .map(|(key, text)| (key, text.into_bytes()));
            let bytes = map.binary_data.into_iter().flatten();
            texts
                .chain(bytes.map(|(key, ByteString(bytes))| (key, bytes)))
                .collect()
        });
        select(data, items, optional).with_context(|| format!("configmap {name:?}"))
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> anyhow::Result<Parts> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace());
        let found = api
            .get_opt(name)
            .await
            .with_context(|| format!("get secret {name:?}"))?;
        let data = found.map(|secret| {
            let data = secret.data.into_iter().flatten();
            data.map(|(key, ByteString(bytes))| (key, bytes)).collect()
        });
        select(data, items, optional).with_context(|| format!("secret {name:?}"))
    }

    fn fields(&self, items: &[DownwardAPIVolumeFile]) -> anyhow::Result<Parts> {
        let placed = Placed {
            pod: &self.pod,
            addrs: &self.addrs,
            node_addrs: &self.node_addrs,
        };
        let spec = self.pod.spec.as_ref();
        let mut parts = Parts::new();
        for item in items {
            let value = if let Some(field) = &item.field_ref {
                pod_field(placed, &field.field_path)
            } else if let Some(field) = &item.resource_field_ref {
                let name = field.container_name.as_deref().unwrap_or_default();
                spec.and_then(|spec| spec.containers.iter().find(|one| one.name == name))
                    .ok_or_else(|| format!("there is no container {name:?}"))
                    .and_then(|container| container_resource(container, field))
            } else {
                Err("it names neither a field nor a resource".to_owned())
            };
            let value = value.map_err(|error| anyhow!("{}: {error}", item.path))?;
            parts.insert(item.path.clone(), (value.into_bytes(), item.mode));
        }
        Ok(parts)
    }
}

/// Files with the mode that is asked for each, by path.
type Parts = BTreeMap<String, (Vec<u8>, Option<i32>)>;

fn with_mode(parts: Parts, default: Option<i32>) -> Files {
    let default = default.unwrap_or(0o644);
    let mode = |mode: Option<i32>| u32::try_from(mode.unwrap_or(default)).unwrap_or(0o644) & 0o777;
    parts
        .into_iter()
        .map(|(path, (content, asked))| {
            (
                path,
                File {
                    content,
                    mode: mode(asked),
                },
            )
        })
        .collect()
}

/// All keys, or those of `items` at their paths.
fn select(
    data: Option<BTreeMap<String, Vec<u8>>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> anyhow::Result<Parts> {
    let optional = optional.unwrap_or(false);
    let Some(mut data) = data else {
        return if optional {
            Ok(Parts::new())
        } else {
            Err(anyhow!("not found"))
        };
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data
            .into_iter()
            .map(|(key, content)| (key, (content, None)))
            .collect());
    };
    let mut parts = Parts::new();
    for item in items {
        match data.remove(&item.key) {
            Some(content) => parts.insert(item.path.clone(), (content, item.mode)),
            None if optional => None,
            None => bail!("references non-existent key {:?}", item.key),
        };
    }
    Ok(parts)
}
