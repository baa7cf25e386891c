/// A set of TCP ports, held as the fewest ranges that make it up.
///
/// The ranges are sorted and neither overlap nor touch; port 0 is never in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortSet(Vec<PortRange>);

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port; equal to `first` for a single port.
    pub last: u16,
}

impl PortSet {
    /// Reads a list such as `80,8000-8010`. Spaces around items and empty items are ignored.
    ///
    /// # Errors
    /// A sentence for each item that is wrong.
    pub fn parse(list: &str) -> Result<Self, Vec<String>> {
        let (mut ranges, mut problems) = (Vec::new(), Vec::new());
        for item in list.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            match PortRange::parse(item) {
                Ok(range) => ranges.push(range),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        ranges.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Ok(Self(merged))
    }

    /// The ranges in ascending order.
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0
            .iter()
            .any(|range| (range.first..=range.last).contains(&port))
    }
}

impl PortRange {
    fn parse(item: &str) -> Result<Self, String> {
        let (first, last) = match item.split_once('-') {
            Some((first, last)) => (port(first.trim())?, port(last.trim())?),
            None => (port(item)?, port(item)?),
        };
        if first > last {
            return Err(format!(
                "the range {first}-{last} runs backwards; write {last}-{first}"
            ));
        }
        Ok(Self { first, last })
    }
}

/// Reads one port.
///
/// `u16::from_str` alone would take `+80`, and port 0 means "any port" to a socket but nothing to
/// a rule.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(format!(
            "{} is not a port; a port is a number from 1 to 65535",
            super::quoted(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(list: &str) -> String {
        PortSet::parse(list)
            .expect_err("the list is wrong")
            .join("; ")
    }

    fn set(list: &str) -> Vec<(u16, u16)> {
        let set = PortSet::parse(list).expect("the list is right");
        set.ranges().iter().map(|r| (r.first, r.last)).collect()
    }

    #[test]
    fn refuses_what_is_not_a_port() {
        for item in [
            "0",
            "65536",
            "-1",
            "+80",
            "80x",
            "http",
            "0x50",
            "8 0",
            "80:90",
            "1-",
            "-",
            "1-2-3",
            "80;90",
            "٨٠",
            "0-10",
            "1-65536",
            "99999999999999999999",
        ] {
            assert!(problems(item).contains("is not a port"), "{item}");
        }
    }

    #[test]
    fn refuses_a_range_that_runs_backwards_and_shows_the_right_way() {
        assert_eq!(
            problems("8010-8000"),
            "the range 8010-8000 runs backwards; write 8000-8010"
        );
    }

    #[test]
    fn reports_every_wrong_item() {
        let problems = PortSet::parse("http,80,0,9-1").expect_err("three items are wrong");
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn ignores_spaces_and_empty_items() {
        assert_eq!(set(" 80 , ,443,"), [(80, 80), (443, 443)]);
        assert_eq!(set(""), []);
        assert_eq!(set(" , "), []);
        assert_eq!(set("8000 - 8010"), [(8000, 8010)]);
    }

    #[test]
    fn merges_ranges_that_overlap_or_touch() {
        assert_eq!(set("90,80-85,86,84-88,90"), [(80, 88), (90, 90)]);
        assert_eq!(set("65535,65534,1-65533"), [(1, 65535)]);
    }
}
