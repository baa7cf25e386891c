//! Service account tokens: JSON Web Tokens (RFC 7519) signed with ES256, with the claims of
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::jiff::Timestamp;
use ring::{
    digest,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use serde_json::{Value, json};

use super::User;
use crate::api::{
    object::{Object as _, new_uid},
    resources,
    store::{Key, Store},
};

/// The issuer, and the audience of tokens that ask for none.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";
/// Clocks differ.
const LEEWAY_SECONDS: i64 = 10;

/// Signs tokens and checks them.
pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
}

/// What a token says, once its signature and times hold.
struct Claims(Value);

/// What a token binds besides its service account.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bound {
    /// `(name, uid)` of the pod that the token dies with.
    pub(crate) pod: Option<(String, String)>,
    /// `(name, uid)` of the node that the pod runs on.
    pub(crate) node: Option<(String, String)>,
}

impl Tokens {
    /// A new signing key.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .ok()
            .context("make the token signing key")?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .ok()
            .context("read back the token signing key")?;
        let key_id =
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, key.public_key().as_ref()));
        Ok(Self { key, key_id })
    }

    /// A token for the service account object `account`, and the time at which it expires.
    pub(crate) fn issue(
        &self,
        account: &Value,
        audiences: &[String],
        seconds: i64,
        bound: &Bound,
    ) -> (String, Timestamp) {
        let issued = Timestamp::now().as_second();
        let expires = issued + seconds;
        let pair = |(name, uid): &(String, String)| json!({"name": name, "uid": uid});
        let mut kubernetes = json!({
            "namespace": account.namespace(),
            "serviceaccount": {"name": account.name(), "uid": account.uid()},
        });
        if let Some(pod) = &bound.pod {
            kubernetes["pod"] = pair(pod);
        }
        if let Some(node) = &bound.node {
            kubernetes["node"] = pair(node);
        }
        let claims = json!({
            "aud": audiences, "exp": expires, "iat": issued, "iss": ISSUER, "jti": new_uid(),
            "kubernetes.io": kubernetes, "nbf": issued,
            "sub": format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
        });
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), message.as_bytes())
            .expect("signing needs only random numbers, which the kernel has");
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let expires = Timestamp::from_second(expires).unwrap_or(Timestamp::MAX);
        (token, expires)
    }

    /// Who the bearer of `token` is, and which of `audiences` the token is for; or why it is refused.
    pub(crate) fn check(
        &self,
        store: &Store,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), String> {
        const INVALID: &str = "invalid bearer token";
        let Claims(claims) = self.claims(token).ok_or(INVALID)?;
        let held = claims.items("/aud");
        let shared: Vec<String> = audiences
            .iter()
            .filter(|audience| held.iter().any(|one| one == *audience))
            .cloned()
            .collect();
        let refused = |why: &str| Err(format!("[{INVALID}, {why}]"));
        if shared.is_empty() {
            return refused(&format!(
                "token audiences {} is invalid for the target audiences {}",
                spaced(held),
                spaced(
                    &audiences
                        .iter()
                        .cloned()
                        .map(Value::from)
                        .collect::<Vec<_>>()
                ),
            ));
        }
        let now = Timestamp::now().as_second();
        if claims["exp"]
            .as_i64()
            .is_none_or(|expires| expires + LEEWAY_SECONDS < now)
        {
            return refused("service account token has expired");
        }
        if claims["nbf"]
            .as_i64()
            .is_none_or(|from| from - LEEWAY_SECONDS > now)
        {
            return refused("service account token is not valid yet");
        }
        let bound = &claims["kubernetes.io"];
        let namespace = bound.text("/namespace");
        for (claim, plural) in [("serviceaccount", "serviceaccounts"), ("pod", "pods")] {
            let Some(reference) = bound.get(claim) else {
                continue;
            };
            let key = Key::new(resources::core(plural), namespace, reference.text("/name"));
            if store
                .get(&key)
                .is_none_or(|object| object.uid() != reference.text("/uid"))
            {
                return refused("service account token has been invalidated");
            }
        }
        Ok((user(&claims), shared))
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header["alg"] != "ES256" {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?)
            .ok()
            .map(Claims)
    }
}

fn user(claims: &Value) -> User {
    let bound = &claims["kubernetes.io"];
    let mut extra = vec![(
        "authentication.kubernetes.io/credential-id".to_owned(),
        format!("JTI={}", claims.text("/jti")),
    )];
    for kind in ["node", "pod"] {
        for field in ["name", "uid"] {
            let value = bound.text(&format!("/{kind}/{field}"));
            if !value.is_empty() {
                extra.push((
                    format!("authentication.kubernetes.io/{kind}-{field}"),
                    value.to_owned(),
                ));
            }
        }
    }
    User {
        name: claims.text("/sub").to_owned(),
        uid: bound.text("/serviceaccount/uid").to_owned(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", bound.text("/namespace")),
            "system:authenticated".to_owned(),
        ],
        extra,
    }
}

/// A list of strings as Go prints it with `%q`: items in quotes, separated by spaces.
fn spaced(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(Value::to_string).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests;
