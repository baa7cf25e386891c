//! Tokens of a pod's service account, asked for anew when most of their life is over.

use std::collections::HashMap;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};

/// Of a token, if the pod doesn't say; Kubernetes' default.
const LIFE_SECS: i64 = 3600;

/// The tokens of one pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    /// By audience and asked-for life: the token, and when it's time for another one.
    held: HashMap<(String, i64), (String, Timestamp)>,
}

impl Tokens {
    /// A token that is bound to the pod and good for a fifth of its life at least.
    ///
    /// # Errors
    /// When the API gives none.
    pub(super) async fn get(
        &mut self,
        client: &Client,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
    ) -> anyhow::Result<String> {
        let life = wanted.expiration_seconds.unwrap_or(LIFE_SECS);
        let key = (wanted.audience.clone().unwrap_or_default(), life);
        let now = Timestamp::now();
        if let Some((token, renewal)) = self.held.get(&key)
            && now < *renewal
        {
            return Ok(token.clone());
        }
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        let answer = api
            .create_token_request(account, &PostParams::default(), &request(pod, wanted, life))
            .await
            .with_context(|| format!("get a token for service account {account:?}"))?;
        let status = answer
            .status
            .context("the answer to a token request has no token")?;
        let renewal = renewal(now, status.expiration_timestamp.0);
        self.held.insert(key, (status.token.clone(), renewal));
        Ok(status.token)
    }
}

fn request(pod: &Pod, wanted: &ServiceAccountTokenProjection, life: i64) -> TokenRequest {
    TokenRequest {
        spec: TokenRequestSpec {
            audiences: wanted.audience.iter().cloned().collect(),
            expiration_seconds: Some(life),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        },
        ..TokenRequest::default()
    }
}

/// After four fifths of its life, and no later than after a day, as the kubelet has it.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let left = expires.duration_since(now).as_secs();
    now + SignedDuration::from_secs((left * 4 / 5).min(24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires_and_daily() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |secs: i64| {
            let renewal = renewal(now, now + SignedDuration::from_secs(secs));
            renewal.duration_since(now).as_secs()
        };
        assert_eq!((after(600), after(3600)), (480, 2880));
        assert_eq!(after(365 * 24 * 3600), 24 * 3600);
        assert_eq!(after(0), 0);
    }
}
