//! The checked-in code is what the `.proto` files generate.

use std::{collections::BTreeMap, fs, path::Path};

/// Set to renew the checked-in code instead of comparing it.
const UPDATE: &str = "NETTING_UPDATE_GOLDEN";

const FILES: [&str; 4] = [
    "opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
    "opentelemetry/proto/collector/trace/v1/trace_service.proto",
    "opentelemetry/proto/collector/logs/v1/logs_service.proto",
    "prometheus/remote_write.proto",
];

/// File names and what is in them.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    entries
        .map(|entry| {
            let entry = entry.expect("the directory can be read");
            let text = fs::read_to_string(entry.path()).expect("it is text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect()
}

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors =
        protox::compile(FILES, [root.join("proto")]).expect("the .proto files compile");
    let out = tempfile::tempdir().expect("a directory to generate into");
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code can be generated from the descriptors");

    let generated = files(out.path());
    let checked_in = root.join("src/generated");
    if std::env::var_os(UPDATE).is_some() {
        for (name, code) in &generated {
            fs::write(checked_in.join(name), code).expect("the checked-in code can be written");
        }
    }
    assert!(
        files(&checked_in) == generated,
        "{} is not what the .proto files generate; renew it with \
         {UPDATE}=1 cargo test -p netting-telemetry --test generated",
        checked_in.display()
    );
}
