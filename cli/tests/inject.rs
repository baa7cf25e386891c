//! `netting inject` and `uninject`, run as they are run in a pipe.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

/// Exit code, stdout and stderr.
type Said = (Option<i32>, String, String);

fn netting(args: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_netting"))
        .args(args)
        .env_remove("NETTING_IMAGE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be run");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // Of its own, so that neither side waits for the other to read.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the command ends");
    // One that refuses before it has read everything breaks the pipe.
    let _ = writer.join().expect("the writer does not panic");
    let text = |bytes| String::from_utf8(bytes).expect("it writes text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  template:\n    \
         spec:\n      containers:\n      - name: app\n        image: app\n"
    )
}

#[test]
fn what_is_no_manifest_is_refused_with_what_to_do_and_nothing_is_printed() {
    let good = deployment("web");
    for (bad, says) in [
        ("kind: Pod\n\tspec: 1\n", "YAML is indented by spaces"),
        (
            "{{- if .Values.x }}\nkind: Pod\n{{- end }}\n",
            "render it first",
        ),
        ("a: *nowhere\n", "malformed"),
        ("a: &a [*a]\n", "malformed"),
        ("{\"kind\": \"Pod\", \n", "malformed"),
    ] {
        for command in ["inject", "uninject"] {
            let (code, stdout, stderr) = netting(&[command, "-"], &format!("{good}---\n{bad}"));
            assert_eq!(code, Some(1), "{bad:?}: {stderr}");
            assert_eq!(stdout, "", "{bad:?}: nobody applies half of it");
            assert!(stderr.contains(says), "{bad:?}: {stderr}");
            assert!(
                stderr.contains("stdin: document 2 (line"),
                "{bad:?}: {stderr}"
            );
        }
    }
}

#[test]
fn what_is_no_object_among_those_that_are_is_kept_and_told() {
    for other in ["replicas: 3 # three\n", "- 1\n- 2\n", "just words\n"] {
        let text = format!("{}---\n{other}", deployment("web"));
        let (code, injected, stderr) = netting(&["inject", "-"], &text);
        assert_eq!(code, Some(0), "{other:?}: {stderr}");
        assert!(
            stderr.contains("stdin: document 2 (line 11): not_an_object\n"),
            "{stderr}"
        );
        assert!(stderr.contains("is it a values file"), "{stderr}");
        assert!(injected.contains("name: netting-sidecar\n"), "{injected}");
        assert!(injected.ends_with(&format!("---\n{other}")), "{injected}");
        let (code, restored, stderr) = netting(&["uninject", "-"], &injected);
        assert_eq!(code, Some(0), "{other:?}: {stderr}");
        assert!(restored.ends_with(&format!("---\n{other}")), "{restored}");

        let quiet = netting(&["inject", "--quiet", "-"], &text);
        assert_eq!(quiet, (Some(0), injected, String::new()));
        // An object without workloads is one as well.
        let service =
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n---\n{other}");
        let (code, stdout, stderr) = netting(&["inject", "-"], &service);
        assert_eq!((code, stdout), (Some(0), service), "{stderr}");
    }
}

#[test]
fn a_file_in_which_nothing_is_an_object_is_refused_beside_good_ones() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let values = dir.path().join("values.yaml");
    std::fs::write(&values, "replicas: 3\n---\nimage: web\n").expect("there is room for a file");
    let values = values.display().to_string();
    let (code, stdout, stderr) = netting(&["inject", "-", &values], &deployment("web"));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    let says = "2 of the documents can't be read as Kubernetes objects; nothing was printed";
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn files_that_cannot_be_read_are_named_before_anything_is_printed() {
    let (code, stdout, stderr) = netting(&["inject", "-", "/nowhere/web.yaml"], &deployment("web"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.contains("/nowhere/web.yaml: No such file"),
        "{stderr}"
    );
    let (code, _, stderr) = netting(&["inject", "--proxy-memory-limit=8Mi", "-"], "");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--proxy-memory-request"), "{stderr}");
}

#[test]
fn what_is_left_as_it_is_is_told_with_its_reason() {
    let text = format!(
        "{}---\n{}",
        deployment("web"),
        deployment("agent").replace("    spec:\n", "    spec:\n      hostNetwork: true\n")
    );
    let (code, stdout, stderr) = netting(&["inject", "-"], &text);
    assert_eq!(code, Some(0), "{stderr}");
    for line in [
        "stdin: document 1 (line 1): Deployment web: injected\n",
        "Deployment agent: skipped (host_network)\n",
        "  netting: pod not injected: it uses the host's network\n",
    ] {
        assert!(stderr.contains(line), "{stderr}");
    }
    assert_eq!(stdout.matches("name: netting-init").count(), 1, "{stdout}");

    let (code, quiet, stderr) = netting(&["inject", "--quiet", "-"], &text);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(quiet, stdout);
}

#[test]
fn anchors_are_followed_and_ten_thousand_documents_are_no_trouble() {
    let anchored = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: &labels {app: a}\n  \
                    annotations: *labels\nspec: {containers: [{name: app}]}\n";
    let (code, stdout, stderr) = netting(&["inject", "-"], anchored);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout.matches("app: a\n").count(), 2, "{stdout}");

    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    let document = |n: usize| match n % 20 {
        0 => deployment(&format!("web-{n}")),
        _ => service.to_owned(),
    };
    let many: Vec<String> = (0..10_000).map(document).collect();
    let many = many.join("---\n");
    let (code, injected, stderr) = netting(&["inject", "-q", "-"], &many);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(injected.matches("name: netting-sidecar\n").count(), 500);
    assert_eq!(injected.matches(service).count(), 9_500);
    let (code, restored, stderr) = netting(&["uninject", "-q", "-"], &injected);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!restored.contains("netting"), "nothing is left");
}

#[test]
fn what_is_made_to_take_all_memory_is_refused_at_once() {
    // Each line has nine of the one before: three thousand million at the end.
    let mut laughs = "apiVersion: v1\nkind: Pod\na0: &a0 [lol]\n".to_owned();
    for level in 1..=10 {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs += &format!("a{level}: &a{level} [{before}]\n");
    }
    let deep = |open: &str| format!("apiVersion: v1\nkind: Pod\na: {}", open.repeat(100_000));
    for bomb in [laughs, deep("["), deep("{a: "), "{\"a\":".repeat(100_000)] {
        let (code, stdout, stderr) = netting(&["inject", "-"], &bomb);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(
            stderr.contains("document 1 (line 1): malformed"),
            "{stderr}"
        );
    }
}

#[test]
fn ten_thousand_documents_that_are_none_are_told_one_by_one_and_nothing_is_printed() {
    let none = vec!["replicas: 3\n"; 10_000].join("---\n");
    let (code, stdout, stderr) = netting(&["inject", "--quiet", "-"], &none);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr.matches(": not_an_object\n").count(), 10_000);
    let last = stderr.lines().last().unwrap_or_default();
    let says = "10000 of the documents can't be read as Kubernetes objects; nothing was printed";
    assert!(last.ends_with(says), "{last}");
}

#[test]
fn several_files_become_one_that_kubectl_reads() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("there is room for a file");
        path.display().to_string()
    };
    let service = "apiVersion: v1\nkind: Service # as it is\nmetadata: {name: web}\n";
    let files = [
        file("service.yaml", service.trim_end()),
        file("web.yaml", &deployment("web")),
    ];
    let (code, stdout, stderr) = netting(&["inject", &files[0], &files[1]], "");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with(&format!("{service}---\napiVersion: apps/v1\n")),
        "{stdout}"
    );
    let says = format!("{}: no workload in it, and nothing changed\n", files[0]);
    assert!(stderr.contains(&says), "{stderr}");
}

#[test]
fn only_what_asks_is_injected_by_the_namespaces_of_all_files() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let namespace = dir.path().join("namespace.yaml");
    let labelled = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {netting.dev/inject: enabled}}\n";
    std::fs::write(&namespace, labelled).expect("there is room for a file");
    let in_namespace = |namespace: &str, name: &str| {
        deployment(name).replace("{name: ", &format!("{{namespace: {namespace}, name: "))
    };
    let workloads = [in_namespace("shop", "web"), in_namespace("bank", "safe")].join("---\n");
    let namespace = namespace.display().to_string();
    let (code, _, stderr) = netting(&["inject", "--if-asked", &namespace, "-"], &workloads);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("Deployment shop/web: injected\n"),
        "{stderr}"
    );
    let says = "Deployment bank/safe: skipped (not_asked_for)\n";
    assert!(stderr.contains(says), "{stderr}");
}
