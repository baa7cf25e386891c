use super::*;
use crate::export::sample;

#[test]
fn lines_are_as_carbon_wants_them() {
    for (name, style) in [
        ("graphite.tagged.txt", TagStyle::Graphite),
        ("graphite.path.txt", TagStyle::Path),
    ] {
        let graphite = Graphite {
            style,
            prefix: "mesh.".to_owned(),
            tags: Tags::with_identity(&[], &[]),
        };
        let encoded = graphite.encode(&sample::snapshot());
        sample::assert_golden(name, &sample::text(&encoded));
        assert!(encoded.batches[0].body.ends_with(b"\n"));
    }
}
