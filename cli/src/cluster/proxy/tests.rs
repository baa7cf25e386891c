use super::*;

fn chosen(
    server: &str,
    in_kubeconfig: Option<&str>,
    variables: &[(&str, &str)],
) -> Result<Option<String>, NoProxyUrl> {
    let variable = |name: &str| {
        let set = variables.iter().find(|(one, _)| *one == name);
        set.map(|(_, value)| (*value).to_owned())
    };
    let server = server.parse().expect("a URL");
    let proxy = Proxy::before(&server, in_kubeconfig, variable)?;
    Ok(proxy.map(|proxy| proxy.to_string()))
}

const SERVER: &str = "https://api.shop.example:6443";

#[test]
fn what_is_no_proxy_is_refused_without_its_password() {
    for url in [
        "ftp://me:secret@proxy",
        "socks4://me:secret@proxy",
        "http://me:secret@pro xy",
        "/proxy",
    ] {
        let refused = NoProxyUrl("the kubeconfig's proxy-url".to_owned());
        assert_eq!(chosen(SERVER, Some(url), &[]), Err(refused));
        let refused = NoProxyUrl("https_proxy".to_owned());
        assert_eq!(chosen(SERVER, None, &[("https_proxy", url)]), Err(refused));
    }
}

#[test]
fn a_proxy_is_told_without_its_password() {
    for (url, told) in [
        ("http://me:secret@proxy:3128", "http://proxy:3128/"),
        ("https://me:secret@proxy", "https://proxy/"),
        ("socks5://me:secret@proxy:1081/", "socks5://proxy:1081/"),
        ("me:secret@proxy:3128", "http://proxy:3128/"),
    ] {
        let proxy = chosen(SERVER, Some(url), &[]);
        let told = format!("{told} of the kubeconfig's proxy-url");
        assert_eq!(proxy, Ok(Some(told)), "{url}");
    }
}

#[test]
fn the_kubeconfigs_proxy_is_used_whatever_the_environment_says() {
    let variables = [("HTTPS_PROXY", "http://other"), ("NO_PROXY", "*")];
    for server in [SERVER, "https://127.0.0.1:6443"] {
        let proxy = chosen(server, Some("http://proxy"), &variables);
        let told = "http://proxy/ of the kubeconfig's proxy-url".to_owned();
        assert_eq!(proxy, Ok(Some(told)), "{server}");
    }
    let proxy = chosen(SERVER, Some(""), &variables[..1]);
    assert_eq!(proxy, Ok(Some("http://other/ of HTTPS_PROXY".to_owned())));
}

#[test]
fn the_environments_proxy_is_the_one_for_the_servers_scheme() {
    let variables = [
        ("HTTPS_PROXY", ""),
        ("https_proxy", "proxy:3128"),
        ("HTTP_PROXY", "http://plain"),
        ("ALL_PROXY", "http://all"),
    ];
    let proxy = |server| chosen(server, None, &variables);
    let https = "http://proxy:3128/ of https_proxy".to_owned();
    assert_eq!(proxy(SERVER), Ok(Some(https)));
    let http = "http://plain/ of HTTP_PROXY".to_owned();
    assert_eq!(proxy("http://api.shop.example:8080"), Ok(Some(http)));
    assert_eq!(chosen(SERVER, None, &variables[3..]), Ok(None));
}

#[test]
fn this_machine_is_behind_no_proxy_of_the_environment() {
    for server in [
        "https://127.0.0.1:38211",
        "https://localhost:6443",
        "https://LOCALHOST",
        "https://[::1]:6443",
        "https://127.9.9.9",
    ] {
        let proxy = chosen(server, None, &[("HTTPS_PROXY", "http://proxy")]);
        assert_eq!(proxy, Ok(None), "{server}");
    }
}

#[test]
fn servers_that_no_proxy_names_are_asked_directly() {
    let named = [
        (SERVER, "*"),
        (SERVER, "api.shop.example"),
        (SERVER, "other,, Shop.Example ,"),
        (SERVER, ".example"),
        (SERVER, "*.shop.example"),
        (SERVER, "shop.example:6443"),
        ("https://10.1.2.3:6443", "10.0.0.0/8"),
        ("https://10.1.2.3:6443", "10.1.2.3"),
        ("https://10.1.2.3", "10.1.2.3:443"),
        ("https://10.1.2.3", "*"),
        ("https://[fd00::1]:6443", "fd00::/8"),
        ("https://[fd00::1]:6443", "fd00::1"),
        ("https://[fd00::1]:6443", "[fd00::1]:6443"),
    ];
    let others = [
        (SERVER, ""),
        (SERVER, ",,"),
        (SERVER, "hop.example"),
        (SERVER, ".api.shop.example"),
        (SERVER, "*.api.shop.example"),
        (SERVER, "shop.example:443"),
        (SERVER, "shop.example.org"),
        (SERVER, "10.0.0.0/8"),
        ("https://10.1.2.3:6443", "10.1.2.30,10.2.0.0/16"),
        ("https://10.1.2.3:6443", "10.1.2.3:443"),
        ("https://[fd00::1]:6443", "[fd00::1]:443,fd00::10"),
    ];
    let proxy = |server, list| {
        let variables = [("HTTPS_PROXY", "http://proxy"), ("no_proxy", list)];
        chosen(server, None, &variables).expect("it is a proxy's URL")
    };
    for (server, list) in named {
        assert_eq!(proxy(server, list), None, "{server} {list:?}");
    }
    for (server, list) in others {
        assert!(proxy(server, list).is_some(), "{server} {list:?}");
    }
}
