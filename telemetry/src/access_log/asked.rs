//! What an access log is to have, as annotations say it: `errors;slow=500ms;format=json`.

use std::{fmt, path::Path, str::FromStr};

use super::{Format, Output};

/// Which requests and connections have a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// None.
    #[default]
    Off,
    /// Those that failed, or were slow.
    Errors,
    /// Every one.
    All,
}

/// An access log that is asked for. Its options are as they were written, and good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Which lines it has.
    pub which: Which,
    /// How long a request may take.
    pub slow: Option<String>,
    /// How a line looks.
    pub format: Option<String>,
    /// Where it is written.
    pub to: Option<String>,
}

/// Why an access log does not parse: goes on where its text ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAccessLog {
    /// It begins with something else.
    #[error("is not off, errors or all")]
    Which,
    /// There is no such option, or it has no value.
    #[error("has the option {0:?}; there are slow=, format= and to=")]
    Option(String),
    /// It is there more than once.
    #[error("has the option {0} twice")]
    Twice(&'static str),
    /// Its value is none.
    #[error("has the option {name}, but {why}")]
    Value {
        /// The option.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Which {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Errors => "errors",
            Self::All => "all",
        }
    }

    fn of(text: &str) -> Option<Self> {
        let all = [Self::Off, Self::Errors, Self::All];
        all.into_iter().find(|which| which.as_str() == text)
    }
}

impl Asked {
    /// The file that it is written to, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let to = self.to.as_deref().filter(|_| self.which != Which::Off);
        to.filter(|to| to.starts_with('/')).map(Path::new)
    }

    /// The same as variables for the sidecar.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let which = (self.which != Which::Off).then(|| self.which.as_str());
        let all = [
            ("NETTING_ACCESS_LOG", which),
            ("NETTING_ACCESS_LOG_SLOW", self.slow.as_deref()),
            ("NETTING_ACCESS_LOG_FORMAT", self.format.as_deref()),
            ("NETTING_ACCESS_LOG_TO", self.to.as_deref()),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl FromStr for Asked {
    type Err = BadAccessLog;

    fn from_str(text: &str) -> Result<Self, BadAccessLog> {
        let mut items = text.split(';').map(str::trim);
        let which = items
            .next()
            .and_then(Which::of)
            .ok_or(BadAccessLog::Which)?;
        let mut asked = Self {
            which,
            ..Self::default()
        };
        for item in items {
            let unknown = || BadAccessLog::Option(item.to_owned());
            let (name, value) = item.split_once('=').ok_or_else(unknown)?;
            let (name, place, wrong) = match name {
                "slow" => ("slow", &mut asked.slow, slow(value)),
                "format" => ("format", &mut asked.format, format(value)),
                "to" => ("to", &mut asked.to, value.parse::<Output>().err()),
                _ => return Err(unknown()),
            };
            if let Some(why) = wrong {
                return Err(BadAccessLog::Value { name, why });
            }
            if place.replace(value.to_owned()).is_some() {
                return Err(BadAccessLog::Twice(name));
            }
        }
        Ok(asked)
    }
}

/// What is wrong with it.
fn slow(text: &str) -> Option<String> {
    let wrong = || format!("\"{text}\" is no duration such as 500ms");
    humantime::parse_duration(text).is_err().then(wrong)
}

fn format(text: &str) -> Option<String> {
    let wrong = text.parse::<Format>().err();
    wrong.map(|why| format!("\"{text}\" is no format: {why}"))
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.which.as_str())?;
        let options = [
            ("slow", &self.slow),
            ("format", &self.format),
            ("to", &self.to),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                write!(f, ";{name}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_access_log_and_says_why() {
        for (text, why) in [
            ("", "is not off, errors or all"),
            ("some", "is not off, errors or all"),
            ("slow=1s", "is not off, errors or all"),
            ("all;", "has the option \"\""),
            ("all;json", "has the option \"json\""),
            ("all;color=red", "has the option \"color=red\""),
            ("errors;slow=soon", "\"soon\" is no duration such as 500ms"),
            ("errors;slow=1s;slow=2s", "has the option slow twice"),
            ("all;format=%{cookie}", "there is no field %{cookie}"),
            ("all;to=log.txt", "use stdout"),
        ] {
            let refused = text.parse::<Asked>().expect_err(text).to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn is_written_as_it_was_read() {
        for text in [
            "off",
            "all",
            "errors;slow=500ms;format=%{time} \"%{path}\" %{status};to=/var/log/access.log",
        ] {
            let asked: Asked = text.parse().expect("it is one");
            assert_eq!(asked.to_string(), text);
        }
    }

    #[test]
    fn the_sidecar_is_told_what_differs_from_nothing() {
        let asked: Asked = "errors; slow=1s; format=json".parse().expect("it is one");
        let variables: Vec<_> = asked.variables().collect();
        let expected = [
            ("NETTING_ACCESS_LOG", "errors"),
            ("NETTING_ACCESS_LOG_SLOW", "1s"),
            ("NETTING_ACCESS_LOG_FORMAT", "json"),
        ];
        assert_eq!(variables, expected);
        assert_eq!(Asked::default().variables().count(), 0);
    }
}
