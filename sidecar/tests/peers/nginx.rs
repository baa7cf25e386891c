//! nginx as the server: HTTP/1.1, HTTP/2 without and with TLS.

use std::{fs, process::Command};

use tempfile::TempDir;

use crate::{
    pods::{Pods, SERVICE},
    process::{Ended, Server, directory, run_without},
};

const CONFIGURATION: &str = r#"
daemon off;
# One process, so that none is left when it is killed.
master_process off;
error_log stderr notice;
pid DIRECTORY/pid;
events {}
http {
    access_log off;
    client_body_temp_path DIRECTORY/body;
    proxy_temp_path DIRECTORY/proxy;
    fastcgi_temp_path DIRECTORY/fastcgi;
    uwsgi_temp_path DIRECTORY/uwsgi;
    scgi_temp_path DIRECTORY/scgi;
    root DIRECTORY/root;
    keepalive_requests 1000000;
    gzip on;
    gzip_min_length 100;
    server { listen 80; include DIRECTORY/locations; }
    server { listen 8080 http2; include DIRECTORY/locations; }
    server {
        listen 443 ssl http2;
        ssl_certificate DIRECTORY/certificate.pem;
        ssl_certificate_key DIRECTORY/key.pem;
        include DIRECTORY/locations;
    }
}
"#;

const LOCATIONS: &str = r#"
add_header X-Protocol "$server_protocol,$ssl_server_name,";
location = /moved { return 301 /elsewhere; }
location = /gone { return 410 "gone\n"; }
location = /no-content { return 204; }
location = /hangs-up { return 444; }
location = /small-only { client_max_body_size 10; proxy_pass http://127.0.0.1:1; }
location = /sees { return 200 "$host|$http_x_sent|$args|$request_method\n"; }
"#;

/// nginx in the server's pod, with a file of 3 MB at `/large` and its certificate at
/// `certificate.pem`.
pub(crate) fn start(pods: &Pods) -> Server {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let in_place = |text: &str| {
        let here = directory.path().to_str().expect("its name is text");
        text.replace("DIRECTORY", here)
    };
    fs::write(path("nginx.conf"), in_place(CONFIGURATION)).expect("it can be written");
    fs::write(path("locations"), LOCATIONS).expect("it can be written");
    fs::create_dir(path("root")).expect("it can be made");
    fs::write(path("root/index.html"), "<p>hello</p>\n".repeat(20)).expect("it can be written");
    fs::write(path("root/large"), "0123456789abcdef".repeat(200_000)).expect("it can be written");
    certify(&directory);
    let mut nginx = pods.server.command(&[], "nginx");
    nginx.arg("-e").arg("stderr");
    nginx.arg("-c").arg(path("nginx.conf"));
    Server::start(&pods.server, 8080, directory, &mut nginx)
}

/// A certificate for `nginx.test` that signs itself.
pub(crate) fn certify(directory: &TempDir) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args([
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-subj",
            "/CN=nginx.test",
        ])
        .args(["-addext", "subjectAltName=DNS:nginx.test"])
        .args(["-out", "certificate.pem", "-keyout", "key.pem"])
        .current_dir(directory.path())
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
}

/// What curl prints. The words of a call are its arguments, `@` the Service.
fn curl(pods: &Pods, server: &Server, call: &str) -> Ended {
    let directory = server.directory().to_str().expect("its name is text");
    let mut command = pods.client_command("curl");
    command.args(["-sS", "-i", "--noproxy", "*"]);
    command.args(["--resolve", &format!("nginx.test:443:{SERVICE}")]);
    for word in call.split_whitespace() {
        command.arg(word.replace('@', SERVICE).replace("DIRECTORY", directory));
    }
    run_without(&["date:", "connection:"], &mut command)
}

fn same(calls: &[&str]) -> Vec<Ended> {
    let pods = Pods::new();
    let nginx = start(&pods);
    let ended = pods.same(calls, |pods, call| curl(pods, &nginx, call));
    for (call, ended) in calls.iter().zip(&ended) {
        assert_eq!(ended.code, Some(0), "{call}: {ended:?}");
    }
    ended
}

#[test]
fn a_site_looks_the_same_over_http1() {
    let ended = same(&[
        "http://@/",
        "http://@/ --head",
        "http://@/ --compressed",
        "http://@/ http://@/large http://@/",
        "http://@/large --range 1000000-1000015",
        "http://@/large --range 99999999-",
        "http://@/missing",
        "http://@/moved",
        "http://@/moved --location",
        "http://@/gone",
        "http://@/no-content http://@/",
        "http://@/sees?a=b -H Host:other.test -H X-Sent:value",
        "http://@/sees --data x",
        "http://@/ -H If-Modified-Since:Fri,01Jan2100",
        "http://@/ -H Expect:something-else",
        "http://@/ --http2",
    ]);
    assert!(
        ended[0].stdout.contains("X-Protocol: HTTP/1.1"),
        "{ended:?}"
    );
    assert!(ended[9].stdout.ends_with("gone\n"), "{ended:?}");
    assert!(
        ended[11].stdout.ends_with("other.test|value|a=b|GET\n"),
        "{ended:?}"
    );
}

#[test]
fn a_site_looks_the_same_over_http2_by_prior_knowledge() {
    let ended = same(&[
        "--http2-prior-knowledge http://@:8080/",
        "--http2-prior-knowledge http://@:8080/ --head",
        "--http2-prior-knowledge http://@:8080/large",
        "--http2-prior-knowledge http://@:8080/missing",
        "--http2-prior-knowledge http://@:8080/no-content",
        "--http2-prior-knowledge http://@:8080/sees?a=b -H Host:other.test -H X-Sent:value",
    ]);
    assert!(
        ended[0].stdout.contains("x-protocol: HTTP/2.0"),
        "{ended:?}"
    );
    assert!(
        ended[5].stdout.ends_with("other.test|value|a=b|GET\n"),
        "{ended:?}"
    );
}

#[test]
fn the_applications_own_tls_is_not_touched() {
    let trusted = "--cacert DIRECTORY/certificate.pem https://nginx.test";
    let ended = same(&[
        &format!("{trusted}/sees --http2"),
        &format!("{trusted}/sees --http1.1"),
        &format!("{trusted}/large --tls-max 1.2"),
    ]);
    for (ended, protocol) in ended.iter().zip(["HTTP/2.0", "HTTP/1.1"]) {
        let expected = format!("x-protocol: {protocol},nginx.test");
        let said = ended.stdout.to_lowercase();
        assert!(said.contains(&expected.to_lowercase()), "{ended:?}");
    }
}

#[test]
fn what_nginx_refuses_ends_the_same() {
    let pods = Pods::new();
    let nginx = start(&pods);
    let large = "--upload-file DIRECTORY/root/large -H Expect: --output /dev/null";
    let calls = [
        "https://nginx.test/ --tls-max 1.2",
        "--http2-prior-knowledge http://@:8080/hangs-up",
        &format!("http://@/small-only {large} --write-out %{{http_code}}"),
    ];
    let ended = pods.same(&calls, |pods, call| {
        let ended = curl(pods, &nginx, call);
        // Whether the upload is cut off before or after the answer is a race.
        let code = ended.code.filter(|_| !call.contains("small-only"));
        (code, ended.stdout)
    });
    assert_eq!(ended[0].0, Some(60), "{ended:?}");
    assert_eq!(ended[1].0, Some(92), "{ended:?}");
    assert_eq!(ended[2].1, "413", "{ended:?}");
}

#[test]
fn a_server_that_hangs_up_without_an_answer_is_named() {
    let mut pods = Pods::new();
    let nginx = start(&pods);
    assert_eq!(curl(&pods, &nginx, "http://@/hangs-up").code, Some(52));
    pods.mesh();
    let ended = curl(&pods, &nginx, "http://@/hangs-up http://@/");
    assert!(ended.stdout.starts_with("HTTP/1.1 502 "), "{ended:?}");
    assert!(
        ended.stdout.contains("proxy-status: netting; error="),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("HTTP/1.1 200 OK"), "{ended:?}");
}
