//! The command line, environment and files of each part.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::LocalConfig;
use super::folder::{Folder, Ports, write_atomically};
use super::part::Part;
use super::process::{CLUSTER_MARK, ROOT_MARK, SPAWN_MARK};
use crate::domain::{ClusterId, Engine, RoutePath};

const SCHEDULER_PRELOAD: &str = include_str!("../../../ops/image/scheduler_preload.py");
const WORKER_PRELOAD: &str = include_str!("../../../ops/image/worker_preload.py");
const NOTEBOOK_CONFIG: &str = include_str!("../../../ops/image/jupyter_server_config.py");
const DASK_CONFIG: &str = include_str!("../../../ops/image/dask.yaml");
const WELCOME: &str = include_str!("../../../ops/image/welcome-dask.ipynb");

/// Makes the cluster's folders and the files that its parts read. Student files are never replaced.
pub(super) fn prepare(config: &LocalConfig, folder: &Folder, id: ClusterId) -> io::Result<()> {
    let lab = folder.etc().join("jupyter/labconfig");
    let dask = folder.etc().join("dask");
    let first_time = !folder.home().exists();
    for path in [folder.home(), folder.logs(), folder.run(), lab.clone(), dask.clone()] {
        std::fs::create_dir_all(path)?;
    }
    for private in [folder.home(), folder.run()] {
        std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o700))?;
    }
    write_readable(&folder.etc().join("scheduler_preload.py"), SCHEDULER_PRELOAD)?;
    write_readable(&folder.etc().join("worker_preload.py"), WORKER_PRELOAD)?;
    write_readable(&folder.etc().join("jupyter/jupyter_server_config.py"), NOTEBOOK_CONFIG)?;
    write_readable(&lab.join("default_setting_overrides.json"), &lab_settings(id).to_string())?;
    write_readable(&lab.join("page_config.json"), &page_config().to_string())?;
    write_readable(&dask.join("slipway.yaml"), DASK_CONFIG)?;
    write_atomically(&token_file(folder), config.keyring.notebook_token(id).as_bytes())?;
    let welcome = folder.home().join("welcome-dask.ipynb");
    // Only once: whoever deleted it does not want it back.
    if first_time {
        std::fs::write(&welcome, WELCOME)?;
    }
    if let Some((user, group)) = config.run_as {
        // `etc/dask` takes the scheduler's address from the scheduler itself.
        for path in [folder.home(), folder.run(), dask, token_file(folder)] {
            chown(path, Some(user), Some(group))?;
        }
        if first_time {
            chown(welcome, Some(user), Some(group))?;
        }
    }
    Ok(())
}

fn write_readable(path: &Path, content: &str) -> io::Result<()> {
    write_atomically(path, content.as_bytes())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

fn token_file(folder: &Folder) -> PathBuf {
    folder.etc().join("token")
}

/// Where the scheduler puts its address for `Client()` to find.
fn address_file(folder: &Folder) -> PathBuf {
    folder.etc().join("dask/address.yaml")
}

fn lab_settings(id: ClusterId) -> serde_json::Value {
    serde_json::json!({
        "dask-labextension:plugin": {
            "defaultURL": RoutePath::of(id, Engine::DaskDashboard).as_str(),
            // Only the browser has the cookie that the proxy may ask for.
            "browserDashboardCheck": true,
            // It would start a second cluster inside this one.
            "hideClusterManager": true,
        },
        "@jupyterlab/apputils-extension:notification": { "fetchNews": "false", "checkForUpdates": false },
    })
}

fn page_config() -> serde_json::Value {
    serde_json::json!({ "disabledExtensions": { "@jupyterlab/apputils-extension:announcements": true } })
}

/// What to start, without anything started yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
}

/// The launch of a part. `ports` are those it had before, and are asked for again where they are free.
pub(super) fn launch(config: &LocalConfig, folder: &Folder, id: ClusterId, part: Part, ports: Ports) -> Launch {
    let mut launch = Launch {
        program: config.stack.join("bin/python"),
        arguments: vec![],
        environment: environment(config, folder),
        directory: folder.home(),
    };
    match part {
        Part::Notebook => notebook(config, folder, id, ports, &mut launch),
        Part::Scheduler => scheduler(config, folder, id, ports, &mut launch),
        Part::Worker(_) => worker(config, folder, part, &mut launch),
    }
    launch
}

fn environment(config: &LocalConfig, folder: &Folder) -> Vec<(OsString, OsString)> {
    let inherited_path =
        config.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
    let path = format!(
        "{}:{}",
        config.stack.join("bin").display(),
        inherited_path.unwrap_or("/usr/local/bin:/usr/bin:/bin")
    );
    let mut environment: Vec<(OsString, OsString)> =
        config.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    environment.extend([
        ("PATH".into(), path.into()),
        ("HOME".into(), folder.home().into()),
        ("VIRTUAL_ENV".into(), config.stack.clone().into()),
        ("PYTHONUNBUFFERED".into(), "1".into()),
        ("DASK_CONFIG".into(), folder.etc().join("dask").into()),
        ("JUPYTER_CONFIG_PATH".into(), folder.etc().join("jupyter").into()),
        ("JUPYTER_RUNTIME_DIR".into(), folder.run().into()),
    ]);
    environment
}

/// The scripts in `bin` are given to the interpreter, rather than run by their first line, which the
/// system cuts off when the path is long.
fn script(config: &LocalConfig, name: &str) -> OsString {
    config.stack.join("bin").join(name).into()
}

fn notebook(config: &LocalConfig, folder: &Folder, id: ClusterId, ports: Ports, launch: &mut Launch) {
    let mut home = OsString::from("--ServerApp.root_dir=");
    home.push(folder.home());
    launch.arguments = vec![
        script(config, "jupyter-lab"),
        "--no-browser".into(),
        "--log-level=WARN".into(),
        format!("--ServerApp.base_url={}/", RoutePath::of(id, Engine::Notebook)).into(),
        format!("--ServerApp.ip={}", config.address).into(),
        format!("--ServerApp.port={}", free(config.address, ports.notebook)).into(),
        home,
        "--ServerApp.allow_remote_access=True".into(),
        "--ServerApp.trust_xheaders=True".into(),
        // To shut the server down is to end a process that is then started again.
        "--ServerApp.quit_button=False".into(),
        // The pages that tell of new versions and list extensions need the internet.
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate".into(),
        "--LabApp.extension_manager=readonly".into(),
    ];
    if config.runs_as_root() {
        launch.arguments.push("--allow-root".into());
    }
    // A file rather than JUPYTER_TOKEN: every kernel and terminal would show that one in its environment.
    launch.environment.push(("JUPYTER_TOKEN_FILE".into(), token_file(folder).into()));
}

fn scheduler(config: &LocalConfig, folder: &Folder, id: ClusterId, ports: Ports, launch: &mut Launch) {
    launch.arguments = vec![
        script(config, "dask"),
        "scheduler".into(),
        "--host".into(),
        config.address.to_string().into(),
        "--port".into(),
        free(config.address, ports.comm).to_string().into(),
        "--dashboard-address".into(),
        SocketAddr::new(config.address, free(config.address, ports.web)).to_string().into(),
        "--dashboard-prefix".into(),
        RoutePath::of(id, Engine::DaskDashboard).as_str().into(),
        "--scheduler-file".into(),
        folder.scheduler_file().into(),
        "--preload".into(),
        folder.etc().join("scheduler_preload.py").into(),
    ];
    launch.environment.extend([
        ("SLIPWAY_SCHEDULER_PLACE".into(), folder.scheduler_place().into()),
        ("SLIPWAY_DASK_CONFIG".into(), address_file(folder).into()),
        ("SLIPWAY_DASHBOARD".into(), RoutePath::of(id, Engine::DaskDashboard).as_str().into()),
    ]);
    launch.directory = folder.run();
}

fn worker(config: &LocalConfig, folder: &Folder, part: Part, launch: &mut Launch) {
    // Computing comes after answering: notebooks and schedulers stay quick when all cores are busy.
    let python = std::mem::replace(&mut launch.program, "nice".into());
    launch.arguments = vec![
        "-n".into(),
        "10".into(),
        python.into(),
        script(config, "dask"),
        "worker".into(),
        "--scheduler-file".into(),
        folder.scheduler_file().into(),
        "--name".into(),
        part.to_string().into(),
        "--nthreads".into(),
        "1".into(),
        "--no-nanny".into(),
        "--memory-limit".into(),
        config.worker_memory.clone().into(),
        "--host".into(),
        config.address.to_string().into(),
        // Its own page would listen on every interface otherwise, even unused.
        "--no-dashboard".into(),
        "--dashboard-address".into(),
        SocketAddr::new(config.address, 0).to_string().into(),
        "--local-directory".into(),
        folder.run().into(),
        "--preload".into(),
        folder.etc().join("worker_preload.py").into(),
    ];
}

/// The port if nobody has it, else 0: whichever the system gives.
fn free(address: IpAddr, port: Option<u16>) -> u16 {
    port.filter(|port| TcpListener::bind((address, *port)).is_ok()).unwrap_or(0)
}

impl Launch {
    /// Starts it in a process group of its own, so that it outlives slipway and Ctrl-C does not reach it.
    pub fn start(
        &self,
        config: &LocalConfig,
        folder: &Folder,
        (id, part, spawn): (ClusterId, Part, &str),
    ) -> io::Result<tokio::process::Child> {
        let log = std::fs::File::options().create(true).append(true).open(folder.log(part))?;
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            // What slipway itself was given, such as the database's password, is none of theirs.
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(ROOT_MARK, &config.root)
            .env(CLUSTER_MARK, id.to_string())
            .env(SPAWN_MARK, spawn)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        if let Some((user, group)) = config.run_as {
            command.uid(user).gid(group);
        }
        tokio::process::Command::from(command).spawn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Keyring;

    fn launched(part: Part) -> Launch {
        let keyring = Keyring::new(vec![1; 32]).expect("a key of 32 bytes");
        let mut config = LocalConfig::new("/data/clusters".into(), "/stack".into(), keyring);
        config.environment = vec![("LANG".to_owned(), "C.UTF-8".to_owned())];
        let id = "cluster-678343".parse().expect("a valid id");
        launch(&config, &Folder::new(&config.root, id), id, part, Ports::default())
    }

    fn line(launch: &Launch) -> String {
        launch.arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_notebook_serves_under_its_route_and_its_token_is_nowhere_to_be_read() {
        let launch = launched(Part::Notebook);
        assert!(line(&launch).contains("--ServerApp.base_url=/cluster-678343/"));
        assert!(line(&launch).contains("--ServerApp.ip=127.0.0.1"));
        let keyring = Keyring::new(vec![1; 32]).expect("a key of 32 bytes");
        let token = keyring.notebook_token("cluster-678343".parse().expect("a valid id"));
        assert!(!format!("{launch:?}").contains(&token));
    }

    #[test]
    fn the_dashboard_keeps_the_prefix_of_its_route() {
        assert!(line(&launched(Part::Scheduler)).contains("--dashboard-prefix /cluster-678343_9001"));
    }

    #[test]
    fn nothing_of_dask_listens_beyond_the_address_it_was_given() {
        assert!(
            line(&launched(Part::Scheduler)).contains("--host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0")
        );
        let worker = line(&launched(Part::Worker(7)));
        assert!(worker.contains("--name worker-7") && worker.contains("--host 127.0.0.1"));
        assert!(worker.contains("--dashboard-address 127.0.0.1:0"));
    }

    #[test]
    fn a_port_that_somebody_has_is_not_asked_for_again() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let holder = TcpListener::bind((address, 0)).expect("a port");
        let port = holder.local_addr().expect("its address").port();
        assert_eq!(free(address, Some(port)), 0);
        drop(holder);
        assert_eq!(free(address, Some(port)), port);
        assert_eq!(free(address, None), 0);
    }
}
