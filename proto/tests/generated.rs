//! The checked-in code is what the `.proto` files generate.

use std::{fs, path::Path};

/// Set to renew the checked-in code instead of comparing it.
const UPDATE: &str = "NETTING_UPDATE_GOLDEN";

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["netting/v1/catalog.proto", "netting/v1/identity.proto"];
    let descriptors = protox::compile(files, [root]).expect("the .proto files compile");
    let out = tempfile::tempdir().expect("a directory to generate into");
    tonic_prost_build::configure()
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code can be generated from the descriptors");

    let generated = fs::read_to_string(out.path().join("netting.v1.rs")).expect("it was generated");
    let checked_in = root.join("src/generated/netting.v1.rs");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&checked_in, &generated).expect("the checked-in code can be written");
    }
    let current = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        current == generated,
        "{} is not what the .proto files generate; renew it with \
         {UPDATE}=1 cargo test -p netting-proto --test generated",
        checked_in.display()
    );
}
