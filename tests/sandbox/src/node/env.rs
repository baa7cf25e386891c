//! A container's environment and command line.
//!
//! See <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>.

mod expand;
mod services;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvFromSource, EnvVar, Secret};

use super::fields::{Placed, container_resource, pod_field};
pub(crate) use expand::expand;
pub(crate) use services::service_variables;

/// What images set by custom, and shells fall back to.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The ConfigMaps and Secrets of the pod's namespace that its environment names; those that don't
/// exist are missing.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

/// The names of the ConfigMaps and of the Secrets that a container's environment is made of.
pub(crate) fn referenced(container: &Container) -> (Vec<&str>, Vec<&str>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(
            from.config_map_ref
                .iter()
                .map(|source| source.name.as_str()),
        );
        secrets.extend(from.secret_ref.iter().map(|source| source.name.as_str()));
    }
    for from in container
        .env
        .iter()
        .flatten()
        .filter_map(|var| var.value_from.as_ref())
    {
        config_maps.extend(
            from.config_map_key_ref
                .iter()
                .map(|source| source.name.as_str()),
        );
        secrets.extend(
            from.secret_key_ref
                .iter()
                .map(|source| source.name.as_str()),
        );
    }
    (config_maps, secrets)
}

/// A container's variables, in the order of Kubernetes: a later one wins, and each may refer to
/// those before it and to those of the Services.
///
/// # Errors
/// A message for the pod's status, about the first variable that can't be had.
pub(crate) fn variables(
    placed: Placed<'_>,
    container: &Container,
    sources: &Sources,
    services: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    for from in container.env_from.iter().flatten() {
        variables.extend(all_of(from, sources)?);
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            None => Some(expand(var.value.as_deref().unwrap_or_default(), |name| {
                variables.get(name).or_else(|| services.get(name)).cloned()
            })),
            Some(_) => value_from(placed, container, var, sources)?,
        };
        variables.extend(value.map(|value| (var.name.clone(), value)));
    }
    for (name, value) in services {
        variables
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    Ok(variables)
}

/// `command` and `args` with their references to variables filled in.
pub(crate) fn command_line(
    container: &Container,
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let words = container
        .command
        .iter()
        .flatten()
        .chain(container.args.iter().flatten());
    words
        .map(|word| expand(word, |name| variables.get(name).cloned()))
        .collect()
}

fn all_of(from: &EnvFromSource, sources: &Sources) -> Result<Vec<(String, String)>, String> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let mut pairs = Vec::new();
    if let Some(source) = &from.config_map_ref {
        match sources.config_maps.get(&source.name) {
            Some(map) => pairs.extend(map.data.clone().unwrap_or_default()),
            None if source.optional == Some(true) => (),
            None => return Err(format!("configmap {:?} not found", source.name)),
        }
    }
    if let Some(source) = &from.secret_ref {
        match sources.secrets.get(&source.name) {
            Some(secret) => pairs.extend(texts(secret)),
            None if source.optional == Some(true) => (),
            None => return Err(format!("secret {:?} not found", source.name)),
        }
    }
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (format!("{prefix}{name}"), value))
        .collect())
}

fn texts(secret: &Secret) -> Vec<(String, String)> {
    let data = secret.data.iter().flatten();
    data.map(|(name, value)| (name.clone(), String::from_utf8_lossy(&value.0).into_owned()))
        .collect()
}

/// None for an optional source that isn't there: the variable isn't set then.
fn value_from(
    placed: Placed<'_>,
    container: &Container,
    var: &EnvVar,
    sources: &Sources,
) -> Result<Option<String>, String> {
    let Some(from) = &var.value_from else {
        return Ok(None);
    };
    if let Some(field) = &from.field_ref {
        return pod_field(placed, &field.field_path).map(Some);
    }
    if let Some(field) = &from.resource_field_ref {
        return container_resource(container, field).map(Some);
    }
    let (kind, name, key, optional, value) = if let Some(source) = &from.config_map_key_ref {
        let map = sources.config_maps.get(&source.name);
        let value = map.and_then(|map| map.data.as_ref()?.get(&source.key).cloned());
        (
            "configmap",
            &source.name,
            &source.key,
            source.optional,
            value,
        )
    } else if let Some(source) = &from.secret_key_ref {
        let data = sources
            .secrets
            .get(&source.name)
            .and_then(|secret| secret.data.as_ref());
        let value = data.and_then(|data| data.get(&source.key));
        let value = value.map(|value| String::from_utf8_lossy(&value.0).into_owned());
        ("secret", &source.name, &source.key, source.optional, value)
    } else {
        return Err(format!(
            "the source of variable {:?} is not supported on this node",
            var.name
        ));
    };
    if value.is_none() && optional != Some(true) {
        return Err(format!(
            "couldn't find key {key} in {kind} {name:?}, or it doesn't exist"
        ));
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
