//! The contract that there is, held to the one that was released: sidecars and catalogs
//! one version apart understand each other. The rules are in `proto/README.md`.

#[path = "compatibility/rules.rs"]
mod rules;

use std::{fs, path::Path};

use prost::Message as _;
use protox::prost_reflect::prost_types::FileDescriptorSet;
use rules::{Breaking, breaking};

/// Set to have what is there count as released.
const UPDATE: &str = "NETTING_UPDATE_GOLDEN";
/// Those that are released; the others may change as they like until they are.
const RELEASED: [&str; 1] = ["netting/v1/catalog.proto"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compiled(within: &Path) -> FileDescriptorSet {
    protox::compile(RELEASED, [within]).expect("the .proto files compile")
}

fn said(breaking: &[Breaking]) -> String {
    let lines: Vec<String> = breaking.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn nothing_that_was_released_is_taken_back() {
    let released = root().join("released");
    let breaking = breaking(&compiled(&released), &compiled(root()));
    assert!(
        breaking.is_empty(),
        "this breaks sidecars or catalogs of the released version (proto/README.md):\n{}",
        said(&breaking)
    );
    if std::env::var_os(UPDATE).is_some() {
        for file in RELEASED {
            fs::copy(root().join(file), released.join(file)).expect("it can be written");
        }
    }
}

const CONTRACT: &str = r#"
syntax = "proto3";
package made.up;
service Catalog {
  rpc Stream(stream Ask) returns (stream Answer);
  rpc Look(Ask) returns (Answer);
}
message Ask {
  reserved 7 to 9;
  oneof kind {
    string name = 1;
    uint32 number = 2;
  }
  uint64 at_us = 3;
  optional uint32 tries = 4;
  repeated string zones = 5;
  Inner inner = 6;
  message Inner {
    string deep = 1;
  }
}
message Answer {
  Kind kind = 1;
}
enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_SERVICE = 1;
}
"#;

fn contract(text: &str) -> FileDescriptorSet {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("made_up.proto"), text).expect("there is room for a file");
    protox::compile(["made_up.proto"], [dir.path()]).unwrap_or_else(|error| panic!("{error}"))
}

/// The contract with one thing changed.
fn changed(from: &str, to: &str) -> FileDescriptorSet {
    assert_eq!(CONTRACT.matches(from).count(), 1, "{from:?} is there once");
    contract(&CONTRACT.replace(from, to))
}

/// What is changed, into what, the rule that it breaks, and what that says.
const BREAKING: &[[&str; 4]] = &[
    [
        "  uint64 at_us = 3;\n",
        "",
        "FIELD_NO_DELETE",
        "made.up.Ask.at_us with the number 3",
    ],
    [
        "  uint64 at_us = 3;\n",
        "  reserved 3;\n",
        "FIELD_NO_DELETE",
        "made.up.Ask.at_us",
    ],
    [
        "at_us = 3",
        "at_us = 11",
        "FIELD_NO_DELETE",
        "made.up.Ask.at_us",
    ],
    [
        "string deep = 1;",
        "",
        "FIELD_NO_DELETE",
        "made.up.Ask.Inner.deep",
    ],
    [
        "at_us = 3",
        "at_ms = 3",
        "FIELD_SAME_NAME",
        "\"at_us\", and is \"at_ms\"",
    ],
    [
        "at_us = 3",
        "at_us = 3 [json_name = \"at\"]",
        "FIELD_SAME_JSON_NAME",
        "\"atUs\", and is \"at\"",
    ],
    [
        "uint64 at_us",
        "int64 at_us",
        "FIELD_SAME_TYPE",
        "\"Uint64\", and is \"Int64\"",
    ],
    [
        "Kind kind = 1",
        "int32 kind = 1",
        "FIELD_SAME_TYPE",
        "made.up.Kind",
    ],
    [
        "Inner inner = 6",
        "Answer inner = 6",
        "FIELD_SAME_TYPE",
        ".made.up.Answer",
    ],
    [
        "repeated string zones",
        "string zones",
        "FIELD_SAME_CARDINALITY",
        "made.up.Ask.zones",
    ],
    [
        "  uint64 at_us",
        "  repeated uint64 at_us",
        "FIELD_SAME_CARDINALITY",
        "made.up.Ask.at_us",
    ],
    [
        "optional uint32 tries",
        "uint32 tries",
        "FIELD_SAME_CARDINALITY",
        "made.up.Ask.tries",
    ],
    [
        "oneof kind",
        "oneof sort",
        "FIELD_SAME_ONEOF",
        "made.up.Ask.name",
    ],
    [
        "uint32 number = 2;\n  }",
        "}\n  uint32 number = 2;",
        "FIELD_SAME_ONEOF",
        "made.up.Ask.number",
    ],
    [
        "reserved 7 to 9;",
        "reserved 7;",
        "RESERVED_MESSAGE_NO_DELETE",
        "made.up.Ask",
    ],
    [
        "message Inner {\n    string deep = 1;\n  }",
        "message Other {}\n",
        "MESSAGE_NO_DELETE",
        "made.up.Ask.Inner",
    ],
    [
        "  KIND_SERVICE = 1;\n",
        "",
        "ENUM_VALUE_NO_DELETE",
        "made.up.Kind.KIND_SERVICE",
    ],
    [
        "KIND_SERVICE = 1",
        "KIND_SERVICE = 2",
        "ENUM_VALUE_NO_DELETE",
        "made.up.Kind.KIND_SERVICE",
    ],
    [
        "KIND_SERVICE = 1",
        "KIND_POD = 1",
        "ENUM_VALUE_SAME_NAME",
        "made.up.Kind.KIND_SERVICE",
    ],
    [
        "  rpc Look(Ask) returns (Answer);\n",
        "",
        "RPC_NO_DELETE",
        "made.up.Catalog.Look",
    ],
    [
        "rpc Look(Ask)",
        "rpc Look(Answer)",
        "RPC_SAME_REQUEST_TYPE",
        "made.up.Catalog.Look",
    ],
    [
        "returns (Answer)",
        "returns (Ask)",
        "RPC_SAME_RESPONSE_TYPE",
        "made.up.Catalog.Look",
    ],
    [
        "rpc Look(Ask)",
        "rpc Look(stream Ask)",
        "RPC_SAME_CLIENT_STREAMING",
        "made.up.Catalog.Look",
    ],
    [
        "returns (Answer)",
        "returns (stream Answer)",
        "RPC_SAME_SERVER_STREAMING",
        "made.up.Catalog.Look",
    ],
    [
        "service Catalog",
        "service Directory",
        "SERVICE_NO_DELETE",
        "made.up.Catalog",
    ],
    [
        "package made.up",
        "package made.down",
        "MESSAGE_NO_DELETE",
        "made.up.Ask",
    ],
];

#[test]
fn each_change_that_breaks_is_refused_by_the_name_of_its_rule() {
    let before = contract(CONTRACT);
    for [from, to, rule, what] in BREAKING {
        // A message of that name which is used nowhere needs its field gone as well.
        let after = match *from {
            from if from.starts_with("message Inner") => {
                let without = CONTRACT
                    .replace(from, to)
                    .replace("Inner inner = 6", "Other inner = 6");
                contract(&without)
            }
            _ => changed(from, to),
        };
        let said = said(&breaking(&before, &after));
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("{rule}: ")));
        let line = line
            .unwrap_or_else(|| panic!("{from:?} to {to:?} breaks {rule}, and not only: {said:?}"));
        assert!(
            said.contains(what) && line.contains("made.up"),
            "{what:?}: {said}"
        );
    }
}

#[test]
fn whatever_is_new_is_allowed() {
    let before = contract(CONTRACT);
    for (from, to) in [
        (
            "uint64 at_us = 3;",
            "uint64 at_us = 3;\n  string more = 10;",
        ),
        (
            "uint32 number = 2;",
            "uint32 number = 2;\n    bool other = 10;",
        ),
        ("KIND_SERVICE = 1;", "KIND_SERVICE = 1;\n  KIND_POD = 2;"),
        (
            "rpc Look(Ask) returns (Answer);",
            "rpc Look(Ask) returns (Answer);\n  rpc More(Ask) returns (Answer);",
        ),
        ("message Answer {", "message Other {}\nmessage Answer {"),
        ("reserved 7 to 9;", "reserved 7 to 12;"),
        // Where it stands in the file is nothing that is sent.
        (
            "  repeated string zones = 5;\n  Inner inner = 6;\n",
            "  Inner inner = 6;\n  repeated string zones = 5;\n",
        ),
    ] {
        let broken = breaking(&before, &changed(from, to));
        assert!(broken.is_empty(), "{to:?}: {}", said(&broken));
    }
}

/// What a version to come may add, as it arrives at this one.
#[derive(Clone, PartialEq, prost::Message)]
struct HelloOfTomorrow {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "100")]
    more: String,
}

#[test]
fn what_a_newer_version_adds_is_passed_over_by_this_one() {
    use netting_proto::v1::{Hello, StreamResponse, stream_request::Kind};
    let tomorrow = HelloOfTomorrow {
        version: "0.2.0".to_owned(),
        more: "of which nobody knows yet".to_owned(),
    };
    let hello = Hello::decode(tomorrow.encode_to_vec().as_slice());
    let hello = hello.expect("what is unknown does no harm");
    assert_eq!(hello.version, "0.2.0");
    assert_eq!(
        Hello::decode(hello.encode_to_vec().as_slice()),
        Ok(hello.clone())
    );
    // A kind of message that this version does not have: field 100, of no length.
    let unknown_kind = [0xa2, 0x06, 0x00];
    let response = StreamResponse::decode(unknown_kind.as_slice());
    assert_eq!(response.map(|response| response.kind), Ok(None));
    let known = netting_proto::v1::StreamRequest {
        kind: Some(Kind::Hello(hello)),
    };
    let bytes = [known.encode_to_vec(), unknown_kind.to_vec()].concat();
    let both = netting_proto::v1::StreamRequest::decode(bytes.as_slice());
    assert_eq!(both, Ok(known));
}
