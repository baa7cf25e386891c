//! Kubeconfigs that don't lead to a cluster.

use std::{fs, net::TcpListener};

use super::*;
use crate::Exit;

fn flags(kubeconfig: &str, context: Option<&str>) -> (tempfile::TempDir, Flags) {
    let dir = tempfile::tempdir().expect("there is room for a file");
    let file = dir.path().join("config");
    fs::write(&file, kubeconfig).expect("there is room for a file");
    let flags = Flags {
        kubeconfig: Some(file),
        context: context.map(ToOwned::to_owned),
        system_namespace: SYSTEM_NAMESPACE.to_owned(),
    };
    (dir, flags)
}

fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: shop\n\
         clusters: [{{name: shop, cluster: {{server: {server}}}}}]\n\
         contexts: [{{name: shop, context: {{cluster: shop, user: me}}}}, {{name: bank, context: {{cluster: shop, user: me}}}}]\n\
         users: [{{name: me, user: {{}}}}]\n"
    )
}

async fn refusal(kubeconfig: &str, context: Option<&str>) -> String {
    let (_dir, flags) = flags(kubeconfig, context);
    let refused = flags.connect().await.err().expect("no cluster is there");
    let error = anyhow::Error::from(refused);
    assert_eq!(Exit::of(&error), Exit::CannotAsk);
    format!("{error:#}")
}

#[tokio::test]
async fn a_wrong_context_is_refused_with_those_that_there_are() {
    let refused = refusal(&kubeconfig("http://127.0.0.1:1"), Some("shpo")).await;
    assert_eq!(
        refused,
        "the kubeconfig has no context \"shpo\"; it has shop, bank"
    );
}

#[tokio::test]
async fn a_kubeconfig_without_a_current_context_asks_for_one() {
    let without = kubeconfig("http://127.0.0.1:1").replace("current-context: shop\n", "");
    let refused = refusal(&without, None).await;
    assert!(
        refused.ends_with("choose one by --context: shop, bank"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_refused() {
    for text in ["]", "apiVersion: [", "contexts: 7"] {
        let refused = refusal(text, None).await;
        assert!(
            refused.starts_with("the kubeconfig can't be used"),
            "{refused}"
        );
    }
    let refused = refusal("", None).await;
    assert!(refused.contains("no current context"), "{refused}");
}

#[tokio::test]
async fn a_missing_file_that_was_asked_for_is_named() {
    let flags = Flags {
        kubeconfig: Some("/nowhere/config".into()),
        context: None,
        system_namespace: SYSTEM_NAMESPACE.to_owned(),
    };
    let refused = flags.connect().await.err().expect("no file is there");
    let refused = format!("{:#}", anyhow::Error::from(refused));
    assert!(refused.contains("/nowhere/config"), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    drop(listener);
    let refused = refusal(&kubeconfig(&format!("http://{address}")), None).await;
    let expected = format!("the API server at http://{address}/ does not answer");
    assert!(refused.starts_with(&expected), "{refused}");
}

#[test]
fn a_refusal_says_what_was_tried_and_what_the_server_says() {
    for (code, says) in [
        (401, "log in again"),
        (403, "not allowed to list Pods: no way"),
    ] {
        let status = kube::core::Status {
            code,
            message: "no way".to_owned(),
            ..kube::core::Status::default()
        };
        let refused: anyhow::Result<()> =
            Err(kube::Error::Api(Box::new(status))).asked("list Pods");
        let refused = refused.expect_err("it is refused");
        assert_eq!(Exit::of(&refused), Exit::CannotAsk);
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[test]
fn names_that_no_namespace_has_are_refused() {
    for name in ["", "Shop", "-shop", "shop-", "a.b", "a b", &"x".repeat(64)] {
        assert!(namespace_name(name).is_err(), "{name:?}");
    }
    for name in ["shop", "a", "0", "team-7", &"x".repeat(63)] {
        assert_eq!(namespace_name(name).as_deref(), Ok(name));
    }
}
