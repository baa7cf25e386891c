//! How metrics are kept, as far as the list says: `metrics;series-max=5000`.

use std::{sync::Arc, time::Duration};

use super::{Reference, options::Options, syntax::Item};
use crate::registry::{OPTIONAL_LABELS, Settings, bounds};

/// What a list has instead of a process's own settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    series_max: Option<usize>,
    idle_after: Option<Duration>,
    labels_allow: Option<Vec<String>>,
    labels_deny: Option<Vec<String>>,
    duration_bounds: Option<Arc<[f64]>>,
    size_bounds: Option<Arc<[f64]>>,
}

impl Kept {
    /// # Errors
    /// All that is wrong with the item.
    pub(super) fn parse(
        item: &Item,
        value: &mut dyn FnMut(&Reference) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        if item.unclosed {
            return Err(vec!["has a quotation mark without a second one".to_owned()]);
        }
        let mut options = Options::new(item, value);
        if item.target.is_some() {
            options.refuse("has a target; it says how metrics are kept, and sends none");
        }
        let kept = Self {
            series_max: options.parsed("series-max", count),
            idle_after: options.duration("idle"),
            labels_allow: options.parsed("labels-allow", optional),
            labels_deny: options.parsed("labels-deny", names),
            duration_bounds: options.parsed("duration-buckets", rising),
            size_bounds: options.parsed("size-buckets", rising),
        };
        let whys = options.finish("metrics");
        if whys.is_empty() { Ok(kept) } else { Err(whys) }
    }

    /// The settings with what the list says over them.
    pub(super) fn over(&self, settings: Settings) -> Settings {
        let mut settings = settings;
        let Self {
            series_max,
            idle_after,
            labels_allow,
            labels_deny,
            duration_bounds,
            size_bounds,
        } = self.clone();
        settings.series_max = series_max.unwrap_or(settings.series_max);
        settings.idle_after = idle_after.unwrap_or(settings.idle_after);
        settings.labels.allow = labels_allow.unwrap_or(settings.labels.allow);
        settings.labels.deny = labels_deny.unwrap_or(settings.labels.deny);
        settings.duration_bounds = duration_bounds.or(settings.duration_bounds);
        settings.size_bounds = size_bounds.or(settings.size_bounds);
        settings
    }
}

fn count(text: &str) -> Result<usize, &'static str> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or("is no number from 1 on")
}

fn names(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<_> = text.split('+').map(str::to_owned).collect();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = |name: &String| !name.is_empty() && name.chars().all(fits);
    match names.iter().all(is_name) {
        true => Ok(names),
        false => Err("is not names of labels, joined by +"),
    }
}

fn optional(text: &str) -> Result<Vec<String>, String> {
    let names = names(text)?;
    match names
        .iter()
        .all(|it| OPTIONAL_LABELS.contains(&it.as_str()))
    {
        true => Ok(names),
        false => Err(format!("is not {}", OPTIONAL_LABELS.join(" or "))),
    }
}

fn rising(text: &str) -> Result<Arc<[f64]>, &'static str> {
    bounds(text.split('+')).ok_or("is not rising numbers, joined by +, such as 0.01+0.1+1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::syntax;

    fn kept(text: &str) -> Result<Kept, Vec<String>> {
        Kept::parse(&syntax::items(text)[0], &mut |_| None)
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("metrics=http://a", "has a target"),
            ("metrics;series-max=0", "is no number from 1 on"),
            ("metrics;idle=soon", "is no duration"),
            ("metrics;labels-allow=server.port", "is not rpc.method"),
            ("metrics;labels-deny=a++b", "joined by +"),
            ("metrics;size-buckets=2+1", "rising numbers"),
            ("metrics;interval=1s", "has the option interval"),
            ("metrics;idle=\"1m", "quotation mark"),
        ] {
            let whys = kept(text).expect_err(text);
            assert!(whys.len() == 1 && whys[0].contains(why), "{text}: {whys:?}");
        }
    }

    #[test]
    fn goes_over_what_a_process_has_of_its_own() {
        let own = Settings {
            series_max: 7,
            size_bounds: Some([1.0].into()),
            ..Settings::default()
        };
        let untouched = Kept::default().over(own.clone());
        assert_eq!(untouched.series_max, 7);
        let text = "metrics;series-max=9;idle=1h;labels-allow=rpc.method;\
                    labels-deny=server.port+server.address;duration-buckets=0.1+1";
        let settings = kept(text).expect("all of it is right").over(own);
        assert_eq!(settings.series_max, 9);
        assert_eq!(settings.idle_after, Duration::from_secs(3600));
        assert!(settings.labels.admits("rpc.method") && !settings.labels.admits("server.port"));
        assert_eq!(settings.duration_bounds.as_deref(), Some(&[0.1, 1.0][..]));
        assert_eq!(settings.size_bounds.as_deref(), Some(&[1.0][..]));
    }
}
