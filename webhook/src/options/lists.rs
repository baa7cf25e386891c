//! Comma-separated lists, of which the valid items count.

use std::str::FromStr;

use crate::{pod::Pod, warnings::Warnings};

use super::{Given, NotAPort, PortRange, Source};

/// More items in one list than anybody means; bounds the init container's arguments.
pub(super) const ITEMS_MAX: usize = 64;

/// Whether it is a list of nothing.
pub(super) fn is_empty(given: Given<'_>) -> bool {
    given.value.split(',').all(|text| text.trim().is_empty())
}

/// Lays a list over another one.
pub(super) fn set<T>(option: &mut Vec<T>, given: Given<'_>, warnings: &mut Warnings)
where
    T: FromStr<Err: ToString>,
{
    let parse = |text: &str| match text.parse() {
        Ok(item) => Ok(vec![item]),
        Err(error) => Err(T::Err::to_string(&error)),
    };
    set_parsed(option, given, warnings, parse);
}

/// Lays a list of ports over another one. Besides numbers it takes the names that
/// the pod's containers give to their ports.
pub(super) fn set_ports(
    option: &mut Vec<PortRange>,
    given: Given<'_>,
    pod: &Pod<'_>,
    warnings: &mut Warnings,
) {
    let parse = |text: &str| match text.parse() {
        Ok(range) => Ok(vec![range]),
        Err(NotAPort::Number) if is_port_name(text) => named_ports(text, given.source, pod),
        Err(error) => Err(error.to_string()),
    };
    set_parsed(option, given, warnings, parse);
}

/// Nothing between commas is no item. A list of which no item is valid changes
/// nothing.
fn set_parsed<T>(
    option: &mut Vec<T>,
    given: Given<'_>,
    warnings: &mut Warnings,
    parse: impl Fn(&str) -> Result<Vec<T>, String>,
) {
    let mut items = Vec::new();
    let texts = given.value.split(',').map(str::trim);
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    for text in &texts {
        match parse(text) {
            Ok(parsed) if items.len() + parsed.len() > ITEMS_MAX => {
                let why = format!("is more than the {ITEMS_MAX} items a list may have");
                warnings.ignored(given.item(text), &why);
            }
            Ok(parsed) => items.extend(parsed),
            Err(why) => warnings.ignored(given.item(text), &why),
        }
    }
    if texts.is_empty() || !items.is_empty() {
        *option = items;
    }
}

/// All TCP ports of that name: containers may share one. A namespace names ports
/// that some of its pods have, so there it is no mistake that this one has none.
fn named_ports(name: &str, source: Source<'_>, pod: &Pod<'_>) -> Result<Vec<PortRange>, String> {
    let containers = pod.all_containers();
    let mut ports: Vec<_> = containers.flat_map(|c| c.tcp_ports_named(name)).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() && source == Source::Pod {
        return Err("is not the name of a TCP port of the pod".to_owned());
    }
    Ok(ports.into_iter().map(PortRange::from).collect())
}

/// Names of services as RFC 6335 has them and Kubernetes requires of ports.
fn is_port_name(text: &str) -> bool {
    const CHARS_MAX: usize = 15;
    text.len() <= CHARS_MAX
        && text.contains(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
