//! `netting support-bundle`: what a report about a fault needs, without secrets.

mod archive;
mod asked;
mod collect;
mod redact;

use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;

use crate::{check::finding::counted, cluster, exit::Exit, output};

const EXAMPLES: &str = "\
Examples:
  netting support-bundle
  netting support-bundle --to netting.tar.gz
  netting support-bundle --to some/directory

No Secret is read but the dates of the webhook's certificate. Of applications, variables, commands,
arguments and annotations are left out; tokens and private keys are cut out of logs.";

/// Where to.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to write it: a file ending in .tar.gz or .tgz, or a directory that is not
    /// there yet; by default a file named after the time
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,

    /// Of how many pods with a sidecar to collect configuration, metrics and logs
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pods_max: usize,

    /// How many lines to collect of each log
    #[arg(long, value_name = "LINES", default_value_t = 2000)]
    log_lines: i64,
}

impl Args {
    /// Collects and writes it.
    ///
    /// # Errors
    /// If the cluster can't be asked at all, or the bundle can't be written.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let to = self.to.unwrap_or_else(|| {
            let now = Timestamp::now().strftime("%Y%m%d-%H%M%S");
            format!("netting-support-{now}.tar.gz").into()
        });
        // Found out before anything is collected.
        let archive = archive::Archive::at(&to)?;
        let limits = collect::Limits {
            pods: self.pods_max,
            log_lines: self.log_lines,
        };
        let (bundle, missed) = collect::bundle(&cluster, limits).await;
        let count = bundle.len();
        archive.write(&bundle)?;
        output::write(&format!("{count} files in {}\n", to.display()))?;
        if missed > 0 {
            let missed = counted(missed, "thing");
            eprintln!("netting: {missed} could not be had: missing.txt in it says why");
        }
        Ok(Exit::Fine)
    }
}
