//! Databases with their own clients. MariaDB speaks first; PostgreSQL and Redis
//! don't, and look like nothing that a proxy knows.

use std::{fs, path::Path, process::Command};

use crate::{
    nginx::certify,
    pods::{Pods, SERVICE},
    process::{Ended, NOBODY, Server, directory, run},
};

/// Runs what prepares a server's files.
fn prepare(command: &mut Command) {
    let output = command.output().expect("the server's package is installed");
    assert!(output.status.success(), "{output:?}");
}

fn mariadb(pods: &Pods) -> Server {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let users =
        "CREATE USER app IDENTIFIED BY 'secret';\nCREATE DATABASE d;\nGRANT ALL ON d.* TO app;";
    fs::write(path("users.sql"), users).expect("it can be written");
    prepare(
        Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--user=nobody"])
            .arg(format!("--datadir={}", path("data").display())),
    );
    let mut command = pods.server.command(&NOBODY, "mariadbd");
    command
        .args(["--no-defaults", "--bind-address=0.0.0.0", "--port=3306"])
        .args(["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"])
        .arg(format!("--datadir={}", path("data").display()))
        .arg(format!("--socket={}", path("socket").display()))
        .arg(format!("--pid-file={}", path("pid").display()))
        .arg(format!("--init-file={}", path("users.sql").display()));
    Server::start(&pods.server, 3306, directory, &mut command)
}

#[test]
fn mariadb_answers_its_client() {
    let pods = Pods::new();
    let _server = mariadb(&pods);
    let calls = [
        ("secret", "SELECT 1 + 1"),
        ("secret", "SELECT REPEAT('x', 3000000)"),
        (
            "secret",
            "CREATE OR REPLACE TABLE t (a INT); INSERT INTO t SELECT seq FROM seq_1_to_20000; SELECT * FROM t",
        ),
        ("secret", "SELECT nothing FROM nowhere"),
        ("wrong", "SELECT 1"),
        ("secret", "SHOW STATUS LIKE 'Ssl_cipher'"),
    ];
    let ended = pods.same(&calls, |pods, (password, statement)| {
        let mut ended = run(pods.client_command("mariadb").args([
            "--no-defaults",
            "--host",
            SERVICE,
            "--user=app",
            &format!("--password={password}"),
            "--batch",
            "--execute",
            statement,
            "d",
        ]));
        // Who connects, as the server sees it, is its own pod's sidecar.
        ended.stderr = ended.stderr.replace("'10.0.0.3'", "'10.0.0.2'");
        ended
    });
    assert_eq!(ended[0].stdout, "1 + 1\n2\n");
    assert!(ended[1].stdout.starts_with("3000"), "{:?}", ended[1]);
    assert!(ended[3].stderr.contains("ERROR 1146"), "{:?}", ended[3]);
    assert!(ended[4].stderr.contains("ERROR 1045"), "{:?}", ended[4]);
}

fn postgresql(pods: &Pods, tls: bool) -> Server {
    let directory = directory();
    let data = directory.path().join("data");
    let program = |name: &str| {
        let installed = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
        let version = installed.flatten().next().expect("a version is installed");
        let program = version.path().join("bin").join(name);
        program.to_str().expect("its path is text").to_owned()
    };
    prepare(
        pods.server
            .command(&NOBODY, &program("initdb"))
            .args([
                "--username=app",
                "--auth=trust",
                "--no-sync",
                "--locale=C.UTF-8",
            ])
            .arg(&data),
    );
    let hba = "local all all trust\nhost all all all trust\n";
    fs::write(data.join("pg_hba.conf"), hba).expect("it can be written");
    if tls {
        certify(&directory);
        give_to_nobody(&directory.path().join("key.pem"));
    }
    let mut command = pods.server.command(&NOBODY, &program("postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(directory.path());
    for option in ["listen_addresses=*", "fsync=off"] {
        command.args(["-c", option]);
    }
    if tls {
        let path = |name: &str| directory.path().join(name).display().to_string();
        command.args(["-c", "ssl=on"]);
        command.args(["-c", &format!("ssl_cert_file={}", path("certificate.pem"))]);
        command.args(["-c", &format!("ssl_key_file={}", path("key.pem"))]);
    }
    Server::start(&pods.server, 5432, directory, &mut command)
}

fn give_to_nobody(file: &Path) {
    prepare(Command::new("chown").arg("nobody").arg(file));
}

/// Calls of psql: options of the connection, and what is said on it.
type Psql = (&'static str, &'static str);

fn psql(pods: &Pods, (options, statement): &Psql) -> Ended {
    let connection = format!("host={SERVICE} dbname=postgres {options}");
    run(pods.client_command("psql").args([
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--command",
        statement,
        &connection,
    ]))
}

#[test]
fn postgresql_answers_its_client_in_plain_text() {
    let pods = Pods::new();
    let _server = postgresql(&pods, false);
    let calls: [Psql; 7] = [
        ("user=app sslmode=disable", "SELECT 1 + 1"),
        ("user=app sslmode=prefer", "SELECT 1 + 1"),
        ("user=app sslmode=require", "SELECT 1 + 1"),
        ("user=other", "SELECT 1 + 1"),
        ("user=app", "SELECT repeat('x', 3000000)"),
        (
            "user=app",
            "COPY (SELECT generate_series(1, 50000)) TO STDOUT",
        ),
        ("user=app", "SELECT * FROM nowhere"),
    ];
    let ended = pods.same(&calls, psql);
    assert_eq!(ended[0].stdout, "2\n");
    assert_eq!(ended[1].stdout, "2\n");
    let refused = "server does not support SSL, but SSL was required";
    assert!(ended[2].stderr.contains(refused), "{:?}", ended[2]);
    assert!(
        ended[3].stderr.contains("role \"other\" does not exist"),
        "{:?}",
        ended[3]
    );
    assert!(
        ended[4].stdout.starts_with("3000001 bytes"),
        "{:?}",
        ended[4]
    );
}

#[test]
fn postgresql_answers_its_client_over_tls() {
    let pods = Pods::new();
    let server = postgresql(&pods, true);
    let root = format!(
        "user=app sslmode=verify-ca sslrootcert={}/certificate.pem",
        server.directory().display()
    );
    let in_use = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let calls = [
        ("user=app sslmode=prefer".to_owned(), in_use),
        ("user=app sslmode=require".to_owned(), in_use),
        ("user=app sslmode=disable".to_owned(), in_use),
        (root, "SELECT repeat('x', 3000000)"),
    ];
    let ended = pods.same(&calls, |pods, (options, statement)| {
        let connection = format!("host={SERVICE} dbname=postgres {options}");
        run(pods
            .client_command("psql")
            .args(["-X", "-t", "-A", "-c", statement, &connection]))
    });
    let said: Vec<_> = ended.iter().map(|ended| ended.stdout.as_str()).collect();
    assert_eq!(said[..3], ["t\n", "t\n", "f\n"], "{ended:?}");
    assert!(said[3].starts_with("3000001 bytes"), "{ended:?}");
}

#[test]
fn redis_answers_its_client() {
    let pods = Pods::new();
    let directory = directory();
    let mut command = pods.server.command(&NOBODY, "redis-server");
    command
        .args([
            "--port",
            "6379",
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
        ])
        .args(["--save", "", "--dir"])
        .arg(directory.path());
    let _server = Server::start(&pods.server, 6379, directory, &mut command);
    let cli = format!("redis-cli -h {SERVICE}");
    let nc = format!("nc -N -w 5 {SERVICE} 6379");
    let calls = [
        format!("{cli} ping"),
        format!("{cli} flushall"),
        format!("printf 'set a 1\\nincr a\\nget a\\nmulti\\nincr a\\nexec\\nnonsense\\n' | {cli}"),
        format!("printf 'SET k%d v\\r\\n' $(seq 20000) | {cli} --pipe"),
        format!("{cli} -3 hgetall missing"),
        format!("{cli} blpop nothing 0.1"),
        format!("head -c 3000000 /dev/zero | {cli} -x set large; {cli} strlen large"),
        format!("{cli} get large"),
        // Words on a line, which Redis takes as well, look much like HTTP.
        format!("printf 'GET a\\r\\nPING\\r\\nGET /k HTTP/1.1\\r\\nQUIT\\r\\n' | {nc}"),
    ];
    let ended = pods.same(&calls, |pods, call| {
        run(pods.client_command("sh").args(["-c", call]))
    });
    assert_eq!(ended[0].stdout, "PONG\n");
    assert!(
        ended[3].stdout.contains("errors: 0, replies: 20000"),
        "{:?}",
        ended[3]
    );
    assert!(ended[8].stdout.contains("+PONG\r\n"), "{:?}", ended[8]);
}
