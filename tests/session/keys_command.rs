//! `ward.master_key_command`: which programs are run, and what becomes of their output.

use std::process::Command;
use ward_tests::{
    Cluster, MasterKey, Options, ServerFiles, random_key, refused, run, text, wait_until,
};

fn with_command(command: &str) -> Options {
    Options::default()
        .master_key(MasterKey::None)
        .set("ward.master_key_command", command)
}

/// Why a server with this command did not start.
fn reason(command: &str) -> String {
    let Err(failure) = Cluster::try_start(with_command(command)) else {
        panic!("the server accepted: {command}");
    };
    let log = failure.log;
    assert!(
        log.contains("the output of ward.master_key_command cannot be used"),
        "{log}"
    );
    log
}

#[test]
fn a_program_with_arguments_prints_the_master_key() {
    let key = random_key();
    let cluster = Cluster::with_extension_and(with_command(&format!("/bin/echo {key}")));
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x')",
    );
    let error = refused(
        &mut client,
        "ALTER SYSTEM SET ward.master_key_command = 'x'",
    );
    assert_eq!(error.code().code(), "55P02");
}

/// The example of docs/providers.md, with the commands that it says.
#[test]
fn the_example_with_an_openssl_encrypted_file() {
    let files = ServerFiles::new();
    let script = files.write(
        "master-key-openssl.sh",
        include_str!("../../docs/examples/master-key-openssl.sh"),
        0o700,
    );
    let passphrase = files.write("passphrase", &format!("{}\n", random_key()), 0o600);
    let encrypted = files.path().join("master.key.enc");
    let sealed = Command::new("sh")
        .arg("-c")
        .arg(
            "openssl rand -hex 32 | openssl enc -aes-256-cbc -pbkdf2 -iter 600000 -md sha256 -salt \
             -pass \"file:$1\" -out \"$2\"",
        )
        .arg("sh")
        .args([&passphrase, &encrypted])
        .output()
        .unwrap();
    assert!(sealed.status.success(), "{sealed:?}");
    files.own(&encrypted, 0o600);
    let command = format!(
        "{} {} {}",
        script.display(),
        encrypted.display(),
        passphrase.display()
    );
    let mut cluster = Cluster::with_extension_and(with_command(&command));
    run(
        &mut cluster.superuser(),
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE vault AS SELECT ward.encrypt('attack at dawn') AS value",
    );
    cluster.restart();
    let opened = text(
        &mut cluster.superuser(),
        "SELECT ward.decrypt(value) FROM vault",
    );
    assert_eq!(opened.as_deref(), Some("attack at dawn"));
    // With another passphrase it says so and the server does not start.
    files.write("passphrase", "wrong\n", 0o600);
    cluster.stop();
    let failure = cluster.start_again().unwrap_err();
    let refused = "the output of ward.master_key_command cannot be used";
    assert!(failure.log.contains(refused), "{}", failure.log);
}

#[test]
fn a_command_that_fails() {
    let files = ServerFiles::new();
    let fails = files.write(
        "fails",
        "#!/bin/sh\necho vault is sealed >&2\nexit 3\n",
        0o700,
    );
    let log = reason(&fails.display().to_string());
    assert!(log.contains("exited with status 3"), "{log}");
    assert!(log.contains("vault is sealed"), "{log}");
    let dies = files.write("dies", "#!/bin/sh\nkill -9 $$\n", 0o700);
    let log = reason(&dies.display().to_string());
    assert!(log.contains("ended by signal 9"), "{log}");
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children() {
    let files = ServerFiles::new();
    let pid = files.path().join("pid");
    let hangs = files.write(
        "hangs",
        &format!(
            "#!/bin/sh\n/bin/sleep 600 &\necho $! > {}\nwait\n",
            pid.display()
        ),
        0o700,
    );
    let log = reason(&hangs.display().to_string());
    assert!(log.contains("took longer than 10 s"), "{log}");
    let child: u32 = std::fs::read_to_string(pid)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // killed it is, but it may not have come to ending yet
    wait_until("the child has ended", || {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    });
}

#[test]
fn a_command_that_prints_too_little_too_much_or_something_else() {
    let files = ServerFiles::new();
    let nothing = files.write("nothing", "#!/bin/sh\n", 0o700);
    assert!(reason(&nothing.display().to_string()).contains("there is no master key"));
    let short = &random_key()[..62];
    let log = reason(&format!("/bin/echo {short}"));
    assert!(log.contains("exactly 32 bytes"), "{log}");
    let flood = files.write("flood", "#!/bin/sh\nexec yes 0123456789abcdef\n", 0o700);
    let log = reason(&flood.display().to_string());
    assert!(log.contains("printed more than 4096 bytes"), "{log}");
    let bytes = files.write("bytes", "#!/bin/sh\nprintf '\\377\\376\\n'\n", 0o700);
    let log = reason(&bytes.display().to_string());
    assert!(log.contains("neither hexadecimal nor base64"), "{log}");
    let key = random_key();
    let twice = files.write(
        "twice",
        &format!("#!/bin/sh\necho {key}\necho {key}\n"),
        0o700,
    );
    let log = reason(&twice.display().to_string());
    assert!(log.contains("already on line 1"), "{log}");
    assert!(!log.contains(&key), "the log shows the key");
}

#[test]
fn a_program_that_others_could_replace_is_refused() {
    let files = ServerFiles::new();
    let script = format!("#!/bin/sh\necho {}\n", random_key());
    for mode in [0o720, 0o702, 0o777] {
        let open = files.write("open", &script, mode);
        let log = reason(&open.display().to_string());
        assert!(
            log.contains("may write to") && log.contains("open"),
            "{log}"
        );
    }
    for mode in [0o770, 0o1777] {
        let name = format!("directory-{mode:o}");
        let directory = files.directory(&name, mode);
        files.write(&format!("{name}/print"), &script, 0o700);
        let print = directory.join("print");
        let log = reason(&print.display().to_string());
        assert!(log.contains("may write to the directory"), "{log}");
        // Nor through a link that lies in a place of its own.
        let link = files.path().join(format!("link-{mode:o}"));
        std::os::unix::fs::symlink(&print, &link).unwrap();
        let log = reason(&link.display().to_string());
        assert!(log.contains("may write to the directory"), "{log}");
    }
    let plain = files.write("plain", &script, 0o600);
    let log = reason(&plain.display().to_string());
    assert!(log.contains("is not executable"), "{log}");
    let directory = files.directory("directory", 0o755);
    let log = reason(&directory.display().to_string());
    assert!(log.contains("is not a regular file"), "{log}");
    let log = reason("/nonexistent/ward/print");
    assert!(log.contains("/nonexistent"), "{log}");
}

#[test]
fn a_program_of_another_user_is_refused() {
    let files = ServerFiles::new();
    let foreign = files.write("foreign", "#!/bin/sh\necho\n", 0o755);
    // Only root can give a file away.
    if nix::unistd::Uid::effective().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        nix::unistd::chown(&foreign, Some(nobody.uid), None).unwrap();
        let log = reason(&foreign.display().to_string());
        assert!(log.contains("neither the server's user nor root"), "{log}");
    }
}

#[test]
fn what_only_a_shell_understands_is_refused() {
    for (command, expected) in [
        ("vault kv get -field=key secret/pg_ward", "absolute path"),
        ("./print", "absolute path"),
        ("/bin/echo `id`", "for a shell"),
        ("/bin/sh -c 'echo x'", "for a shell"),
        ("/bin/cat /etc/key | head -1", "for a shell"),
        ("/bin/echo $KEY", "for a shell"),
        (" ", "names no program"),
    ] {
        let log = reason(command);
        assert!(log.contains(expected), "{command}: {log}");
    }
}
