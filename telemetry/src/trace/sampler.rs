//! Whether a trace is kept that nobody has decided on.

use super::id::TraceId;
use crate::config::{Telemetry, Values, Wrong};

/// What a mesh can bear with any load, and still shows what goes on.
const RATIO: f64 = 0.01;

/// Keeps a part of all traces, by their ids: whoever has the same ratio keeps the
/// same ones. As OpenTelemetry's `TraceIdRatioBased`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Of 2^63.
    below: u64,
}

/// A share of all traces, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl std::str::FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ratio = text
            .parse()
            .ok()
            .filter(|ratio| (0.0..=1.0).contains(ratio));
        let wrong =
            || format!("\"{text}\" is no number from 0 to 1, such as 0.01 for each hundredth");
        ratio.map(Self).ok_or_else(wrong)
    }
}

impl Sampler {
    /// Keeps that part.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and 2^63"
    )]
    pub fn ratio(Ratio(ratio): Ratio) -> Self {
        const ALL: f64 = (1_u64 << 63) as f64;
        Self {
            below: (ratio * ALL) as u64,
        }
    }

    /// With this ratio; or else the highest of those that exporters were given, which
    /// all of them get; or else what `OTEL_TRACES_SAMPLER` and its argument say.
    /// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
    #[must_use]
    pub fn configured(
        ratio: Option<Ratio>,
        telemetry: &mut Telemetry,
        values: &dyn Values,
    ) -> Self {
        let asked = telemetry.exporters.iter().filter_map(|it| it.trace_ratio);
        let highest = asked.max_by(|Ratio(one), Ratio(other)| one.total_cmp(other));
        let ratio = ratio.or(highest);
        let ratio = ratio.or_else(|| variables(values, telemetry));
        Self::ratio(ratio.unwrap_or(Ratio(RATIO)))
    }

    /// Whether a trace is kept.
    #[must_use]
    pub fn keeps(self, trace: TraceId) -> bool {
        trace.low() >> 1 < self.below
    }
}

fn variables(values: &dyn Values, telemetry: &mut Telemetry) -> Option<Ratio> {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let argument = telemetry.sampler(ARGUMENT, values);
    let sampler = telemetry.sampler(SAMPLER, values);
    let mut refuse = |item: &str, why: String| {
        let item = item.to_owned();
        telemetry.wrong.push(Wrong { item, why });
        None
    };
    match (sampler.as_deref(), argument) {
        (None, None) => None,
        (None, Some(_)) => refuse(ARGUMENT, format!("is not looked at without {SAMPLER}")),
        (Some("parentbased_always_on"), _) => Some(Ratio(1.0)),
        (Some("parentbased_always_off"), _) => Some(Ratio(0.0)),
        // The specification's default.
        (Some("parentbased_traceidratio"), None) => Some(Ratio(1.0)),
        (Some("parentbased_traceidratio"), Some(argument)) => match argument.parse() {
            Ok(ratio) => Some(ratio),
            Err(why) => refuse(ARGUMENT, format!("is wrong: {why}")),
        },
        (Some(other), _) => refuse(
            SAMPLER,
            format!(
                "is \"{other}\", but what a parent decided is always kept to: use \
                 parentbased_traceidratio, parentbased_always_on or parentbased_always_off"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Reference;

    struct Variables(&'static [(&'static str, &'static str)]);

    impl Values for Variables {
        fn reference(&self, _: &Reference) -> Option<String> {
            None
        }

        fn variable(&self, name: &str) -> Option<String> {
            let found = self.0.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn configured(variables: &'static [(&'static str, &'static str)]) -> (Sampler, usize) {
        let mut telemetry = Telemetry::default();
        let sampler = Sampler::configured(None, &mut telemetry, &Variables(variables));
        (sampler, telemetry.wrong.len())
    }

    fn of(ratio: f64) -> Sampler {
        Sampler::ratio(Ratio(ratio))
    }

    #[test]
    fn refuses_what_is_no_ratio() {
        for text in ["", "-0.1", "1.1", "NaN", "inf", "half", "50%"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
        assert_eq!("0.25".parse(), Ok(Ratio(0.25)));
    }

    #[test]
    fn says_what_is_wrong_with_the_variables_and_keeps_to_its_own_ratio() {
        for variables in [
            &[("OTEL_TRACES_SAMPLER", "always_on")][..],
            &[("OTEL_TRACES_SAMPLER", "jaeger_remote")],
            &[("OTEL_TRACES_SAMPLER_ARG", "0.5")],
            &[
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ],
        ] {
            assert_eq!(configured(variables), (of(RATIO), 1), "{variables:?}");
        }
    }

    #[test]
    fn a_ratio_of_our_own_goes_over_the_variables() {
        let on = Variables(&[("OTEL_TRACES_SAMPLER", "parentbased_always_on")]);
        let mut telemetry = Telemetry::default();
        assert_eq!(Sampler::configured(None, &mut telemetry, &on), of(1.0));
        let list = "zipkin=http://a/api/v2/spans;trace-ratio=0.25, otlp=http://b;trace-ratio=0.75";
        let mut telemetry = Telemetry::parse(list, &on);
        assert_eq!(Sampler::configured(None, &mut telemetry, &on), of(0.75));
        let flag = Some(Ratio(0.5));
        assert_eq!(Sampler::configured(flag, &mut telemetry, &on), of(0.5));
        assert!(telemetry.wrong.is_empty(), "{:?}", telemetry.wrong);
        let half: &[_] = &[
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ];
        assert_eq!(configured(half), (of(0.5), 0));
        let all: &[_] = &[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")];
        assert_eq!(configured(all), (of(1.0), 0), "the specification's default");
        assert_eq!(configured(&[]), (of(RATIO), 0));
    }

    fn trace(low: u64) -> TraceId {
        let id = format!("ffffffffffffffff{low:016x}");
        TraceId::parse(id.as_bytes()).expect("it is an id")
    }

    #[test]
    fn what_is_kept_goes_by_the_second_half_of_the_id() {
        assert!(!of(0.0).keeps(trace(0)));
        assert!(of(1.0).keeps(trace(u64::MAX)));
        // As OpenTelemetry's SDKs decide on these.
        assert!(of(0.5).keeps(trace(0x7fff_ffff_ffff_ffff)));
        assert!(!of(0.5).keeps(trace(0x8000_0000_0000_0000)));
        assert!(of(0.01).keeps(trace(0x028f_5c28_f5c2_8f5b)));
        assert!(!of(0.01).keeps(trace(0x028f_5c28_f5c2_9000)));
    }

    #[test]
    fn about_as_many_are_kept_as_were_asked_for() {
        let kept = (0..10_000)
            .filter(|_| of(0.25).keeps(TraceId::random()))
            .count();
        assert!((2_000..3_000).contains(&kept), "{kept} of 10,000");
    }
}
