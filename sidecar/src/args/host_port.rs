//! Where something listens, as it is written on a command line.

use std::str::FromStr;

/// `host:port`, where the host is a name or an IP address (IPv6 in brackets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The name, or the address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("\"{text}\" is not host:port, such as netting-catalog.netting.svc:15010");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
            return Err(expected());
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self {
                host: bracketed.unwrap_or(host).to_owned(),
                port,
            }),
            _ => Err(expected()),
        }
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_host_and_port() {
        for text in [
            "",
            "catalog",
            "catalog:",
            ":15010",
            "catalog:0",
            "catalog:99999",
            "fd00::1:80",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn takes_names_and_addresses_of_both_families() {
        for text in ["catalog.netting.svc:15010", "10.0.0.1:80", "[fd00::1]:80"] {
            let parsed: HostPort = text.parse().expect("host and port");
            assert_eq!(parsed.to_string(), text);
        }
    }
}
