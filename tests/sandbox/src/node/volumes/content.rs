//! What is in the volumes whose content comes from the API: ConfigMaps, Secrets, tokens, and the
//! pod's own fields.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, PodSpec, Secret, ServiceAccount,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};

use crate::node::fields::{Placed, container_resource, pod_field};

/// Of a token, if the pod doesn't say; Kubernetes' default.
const TOKEN_SECS: i64 = 3600;

/// A volume's files by path.
pub(super) type Files = BTreeMap<String, File>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// Who gets a volume's files.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    /// The user all of the pod's containers run as, if it is the same.
    pub(super) user: Option<u32>,
    /// The pod's `fsGroup`.
    pub(super) group: Option<u32>,
}

impl Owner {
    pub(super) fn of(spec: &PodSpec) -> Self {
        let for_pod = spec.security_context.as_ref();
        let id = |id: i64| u32::try_from(id).ok();
        let containers = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        let mut users = containers.map(|container| {
            let own = container
                .security_context
                .as_ref()
                .and_then(|own| own.run_as_user);
            own.or(for_pod.and_then(|pod| pod.run_as_user)).and_then(id)
        });
        let first = users.next().flatten();
        let user = first.filter(|first| users.all(|user| user == Some(*first)));
        Self {
            user,
            group: for_pod.and_then(|pod| pod.fs_group).and_then(id),
        }
    }

    /// Tokens are for the pod alone when it is known who that is.
    fn token_mode(&self, asked: u32) -> u32 {
        match (self.user, self.group) {
            (_, Some(_)) => 0o640,
            (Some(_), None) => 0o600,
            (None, None) => asked,
        }
    }
}

/// Gets what volumes are made of, for one pod.
#[derive(Clone)]
pub(crate) struct Source {
    client: Client,
    pod: Arc<Pod>,
    addrs: Vec<IpAddr>,
    node_addrs: Vec<IpAddr>,
    /// By audience and asked-for life, until it is time for another one.
    tokens: HashMap<(String, i64), (String, Timestamp)>,
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
            tokens: HashMap::new(),
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
            let content = self.token(token).await?;
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

    /// A token that is good for another fifth of its life at least.
    async fn token(&mut self, wanted: &ServiceAccountTokenProjection) -> anyhow::Result<String> {
        let life = wanted.expiration_seconds.unwrap_or(TOKEN_SECS);
        let key = (wanted.audience.clone().unwrap_or_default(), life);
        let now = Timestamp::now();
        if let Some((token, renewal)) = self.tokens.get(&key)
            && now < *renewal
        {
            return Ok(token.clone());
        }
        let account = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: wanted.audience.iter().cloned().collect(),
                expiration_seconds: Some(life),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: self.pod.metadata.name.clone(),
                    uid: self.pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace());
        let answer = api
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("get a token for service account {account:?}"))?;
        let status = answer
            .status
            .context("the answer to a token request has no token")?;
        let left = status.expiration_timestamp.0.duration_since(now);
        let renewal = now + SignedDuration::from_secs(left.as_secs() * 4 / 5);
        self.tokens.insert(key, (status.token.clone(), renewal));
        Ok(status.token)
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
