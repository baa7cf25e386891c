//! Who has TCP sockets in this network namespace, which is the pod's.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use super::Others;

/// The kernel's tables of TCP sockets (proc_net(5)).
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether anybody else in the pod has a TCP socket: another user than that of this
/// process, which nobody else in the pod runs as.
#[must_use]
pub fn others() -> Others {
    read().map_or(Others::Unseen, |(tables, own)| of(&tables, own))
}

fn read() -> io::Result<(String, u32)> {
    let own = fs::metadata("/proc/self")?.uid();
    let mut tables = String::new();
    for path in TABLES {
        match fs::read_to_string(path) {
            Ok(table) => tables.push_str(&table),
            // There is no IPv6 on this node.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((tables, own))
}

/// What such tables say, headings included. They are believed only if this process, which
/// listens, is in them as its own user: in some sandboxes everything is root's.
fn of(tables: &str, own: u32) -> Others {
    let mut uids = Vec::new();
    for line in tables.lines() {
        match Row::read(line) {
            Row::Of(uid) => uids.push(uid),
            Row::Nobodys => {}
            Row::Unreadable => return Others::Unseen,
        }
    }
    if !uids.contains(&own) {
        Others::Unseen
    } else if uids.iter().any(|uid| *uid != own) {
        Others::WithSockets
    } else {
        Others::WithoutSockets
    }
}

/// A line of a table.
enum Row {
    /// A socket that a process of this user has open.
    Of(u32),
    /// One that no process has open, such as in `TIME_WAIT`, or the heading.
    Nobodys,
    Unreadable,
}

impl Row {
    /// Columns are `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`; what
    /// belongs to no process has the inode 0, and mostly root's uid.
    fn read(line: &str) -> Self {
        const UID: usize = 7;
        /// Behind the one after the uid.
        const INODE: usize = 1;
        let mut columns = line.split_whitespace();
        if line.trim_start().starts_with("sl ") {
            return Self::Nobodys;
        }
        let uid = columns.nth(UID).and_then(|uid| uid.parse().ok());
        let inode = columns
            .nth(INODE)
            .and_then(|inode| inode.parse::<u64>().ok());
        match (uid, inode) {
            (Some(_), Some(0)) => Self::Nobodys,
            (Some(uid), Some(_)) => Self::Of(uid),
            _ => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const OWN: u32 = 4150;
    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    /// Ports 15001 and 15020 of the sidecar, listening.
    const OURS: &str = "   0: 00000000:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  4150        0 81523 1 0000000000000000 100 0 0 10 0
   1: 00000000:3AAC 00000000:0000 0A 00000000:00000000 00:00000000 00000000  4150        0 81530 1 0000000000000000 100 0 0 10 0";
    const TIME_WAIT: &str = "   2: 0200000A:1F90 0100000A:C350 06 00000000:00000000 03:00001734 00000000     0        0 0 3 0000000000000000";
    /// Connected, but not accepted yet or closed by its process.
    const ORPHAN: &str = "   3: 0200000A:1F90 0100000A:C352 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1";
    const LISTENS: &str = "   4: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 90211 1 0000000000000000 100 0 0 10 0";
    const CONNECTED: &str = "   5: 0200000A:C354 0100000A:0CEA 01 00000000:00000000 00:00000000 00000000     0        0 90300 1 0000000000000000 20 4 30 10 -1";
    const OVER_IPV6: &str = "   0: 000080FE00000000FF565002BA1EFE54:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 90400 1 0000000000000000 100 0 0 10 0";

    fn tables(rows: &[&str]) -> String {
        [&[HEADING], rows].concat().join("\n")
    }

    #[test]
    fn what_cannot_be_read_or_lacks_ourselves_is_not_believed() {
        for rows in [
            &[][..],
            &[CONNECTED],
            &[OURS, "   9: 0200000A"],
            &[OURS, "?"],
        ] {
            assert_eq!(of(&tables(rows), OWN), Others::Unseen, "{rows:?}");
        }
        // A sandbox that shows all sockets as root's.
        let roots = tables(&[OURS]).replace("  4150 ", "     0 ");
        assert_eq!(of(&roots, OWN), Others::Unseen);
    }

    #[test]
    fn our_own_and_those_that_nobody_holds_do_not_count() {
        for rows in [&[OURS][..], &[OURS, TIME_WAIT, ORPHAN]] {
            let both = tables(rows) + "\n" + HEADING;
            assert_eq!(of(&both, OWN), Others::WithoutSockets, "{rows:?}");
        }
    }

    #[test]
    fn sockets_of_any_other_user_count_root_among_them() {
        for row in [LISTENS, CONNECTED, OVER_IPV6] {
            let seen = of(&tables(&[OURS, TIME_WAIT, row]), OWN);
            assert_eq!(seen, Others::WithSockets, "{row}");
        }
    }

    #[test]
    fn the_kernel_writes_its_tables_so() {
        let _ours = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (tables, own) = read().expect("they can be read");
        assert_ne!(of(&tables, own), Others::Unseen, "{tables}");
    }
}
