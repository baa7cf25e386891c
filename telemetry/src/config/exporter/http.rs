//! Exporters with a URL, and the options that come with one.

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use crate::config::{
    Secret, Url, endpoint,
    options::{Given, Options},
};

/// Whom to send requests to, and with what.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to.
    pub url: Url,
    /// Sent with each request; those with secrets are marked sensitive.
    pub headers: HeaderMap,
    /// Certificates in PEM that the server's is judged by, instead of the public ones.
    pub ca: Option<String>,
    /// What is shown to a server that asks who connects.
    pub client: Option<ClientCertificate>,
    /// Whether bodies are compressed.
    pub gzip: bool,
}

/// Who connects, for a server that lets in whom it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// In PEM, followed by those that vouch for it.
    pub chain: String,
    /// Its key, in PEM.
    pub key: Secret,
}

/// A URL, and the options that come with one.
pub(super) fn http(
    target: &str,
    default_port: Option<u16>,
    options: &mut Options<'_>,
) -> Option<Http> {
    let url = options.noted(endpoint::url(target, default_port));
    let mut headers = headers(options);
    if let Some(value) = authorization(options) {
        headers.insert(AUTHORIZATION, value);
    }
    let ca = options.text("ca").map(|given| given.value);
    let client = client(options);
    let compression = match options.may_compress {
        true => options.choice("compression", &[("gzip", true), ("none", false)]),
        false => None,
    };
    Some(Http {
        url: url?,
        headers,
        ca,
        client,
        gzip: compression.unwrap_or(false),
    })
}

fn client(options: &mut Options<'_>) -> Option<ClientCertificate> {
    let chain = options.text("client-certificate");
    let key = options.text("client-key");
    match (chain, key) {
        (None, None) => None,
        (Some(chain), Some(key)) if key.is_by_reference() => Some(ClientCertificate {
            chain: chain.value,
            key: Secret::new(key.value),
        }),
        (Some(_), Some(_)) => {
            options.refuse(refer_to_a_secret("client-key"));
            None
        }
        _ => {
            options.refuse("has one of client-certificate and client-key; it takes both");
            None
        }
    }
}

fn headers(options: &mut Options<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, given) in options.prefixed("header.") {
        let Ok(key) = HeaderName::try_from(name.as_str()) else {
            options.refuse(format!("has header.{name}, which is no header's name"));
            continue;
        };
        if names_a_secret(&key) && !given.is_by_reference() {
            options.refuse(refer_to_a_secret(&format!("header.{name}")));
            continue;
        }
        match header(&given) {
            Some(value) => drop(headers.append(key, value)),
            None => options.refuse(format!("has header.{name} with a line break")),
        }
    }
    headers
}

pub(in crate::config) fn names_a_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["authorization", "key", "token", "secret", "password"]
        .into_iter()
        .any(|end| name.ends_with(end))
}

pub(in crate::config) fn refer_to_a_secret(option: &str) -> String {
    format!("has {option} in the clear; refer to a Secret: {option}=$(secret:NAME/KEY)")
}

fn header(given: &Given) -> Option<HeaderValue> {
    // A Secret made from a file often has its last line break.
    let mut value = HeaderValue::try_from(given.value.trim_end()).ok()?;
    value.set_sensitive(given.is_by_reference());
    Some(value)
}

/// `token=…` or `user=…;password=…`.
fn authorization(options: &mut Options<'_>) -> Option<HeaderValue> {
    let token = secret("token", options);
    let user = options.text("user").map(|given| given.value);
    let password = secret("password", options);
    let value = match (token, user, password) {
        (None, None, None) => return None,
        (Some(token), None, None) => format!("{} {}", options.scheme, token.reveal()),
        (None, Some(user), password) => {
            let password = password.as_ref().map_or("", Secret::reveal);
            basic(&user, password)
        }
        _ => {
            options.refuse("has a token and a password, or a password and no user");
            return None;
        }
    };
    let value = HeaderValue::try_from(value).ok();
    let value = value.map(|mut value| {
        value.set_sensitive(true);
        value
    });
    options.noted(value.ok_or_else(|| "has a token with a line break in it".to_owned()))
}

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn secret(name: &'static str, options: &mut Options<'_>) -> Option<Secret> {
    let given = options.text(name)?;
    if !given.is_by_reference() {
        options.refuse(refer_to_a_secret(name));
        return None;
    }
    Some(Secret::new(given.value.trim_end().to_owned()))
}
