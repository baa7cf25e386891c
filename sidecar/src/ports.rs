//! Sets of ports, as flags and annotations write them.

use std::{fmt, str::FromStr};

/// Ports and ranges of ports, such as `25,3306,8000-8010`. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<(u16, u16)>);

impl PortSet {
    /// Whether the port is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&port))
    }
}

impl FromStr for PortSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim);
        let ranges = items.filter(|item| !item.is_empty()).map(range);
        Ok(Self(ranges.collect::<Result<_, _>>()?))
    }
}

fn range(item: &str) -> Result<(u16, u16), String> {
    let bounds = item.split_once('-').unwrap_or((item, item));
    let port = |text: &str| match text.trim().parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!(
            "\"{item}\" is no port or range of ports from 1 to 65535, such as 3306 or 8000-8010"
        )),
    };
    let (first, last) = (port(bounds.0)?, port(bounds.1)?);
    if first > last {
        return Err(format!(
            "the range {item} runs backwards; write {last}-{first}"
        ));
    }
    Ok((first, last))
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_port() {
        for text in ["0", "65536", "-1", "http", "80-", "-80", "80;81", "1-2-3"] {
            let refused = text.parse::<PortSet>().expect_err(text);
            assert!(refused.contains("65535"), "{text}: {refused}");
        }
    }

    #[test]
    fn says_how_a_backwards_range_is_written() {
        let refused = "8010-8000".parse::<PortSet>().expect_err("it is backwards");
        assert!(refused.contains("8000-8010"), "{refused}");
    }

    #[test]
    fn holds_its_ports_and_no_others() {
        let set: PortSet = " 25, 3306,8000-8010,".parse().expect("ports and a range");
        for port in [25, 3306, 8000, 8005, 8010] {
            assert!(set.contains(port), "{port}");
        }
        for port in [24, 26, 7999, 8011] {
            assert!(!set.contains(port), "{port}");
        }
        assert_eq!(set.to_string(), "25,3306,8000-8010");
    }

    #[test]
    fn an_empty_list_holds_nothing() {
        let set: PortSet = "".parse().expect("it may be empty");
        assert_eq!(set, PortSet::default());
        assert!(!set.contains(80));
    }
}
