use super::*;
use crate::export::sample;

#[test]
fn lines_are_as_influxdb_wants_them() {
    let tags = Tags::with_identity(&[("env".to_owned(), "a=b".to_owned())], &[]);
    let encoded = encode(&sample::snapshot(), &tags, Packer::bodies(BODY_BYTES_MAX));
    sample::assert_golden("influxdb.txt", &sample::text(&encoded));
}

#[test]
fn nothing_ends_a_line_or_a_tag_early() {
    assert_eq!(escaped("a\nb", ",= "), "a_b");
    assert_eq!(escaped("a, b=c", ",= "), r"a\,\ b\=c");
    assert_eq!(escaped(r"a\", ",= "), r"a\_");
}
