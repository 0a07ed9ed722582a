//! Looks for secrets in files and texts, in every form in which a server writes bytes.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine as _};
use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};
use ward_tests::random_key;

/// Text that occurs nowhere by accident.
pub fn canary() -> String {
    format!("canary-{}", &random_key()[..32])
}

/// What is looked for.
pub struct Search {
    automaton: AhoCorasick,
    /// The secret and the form of each pattern.
    patterns: Vec<(String, &'static str)>,
}

/// Where a secret was found, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The name of the secret.
    pub secret: String,
    /// `raw`, `hex` or `base64`.
    pub form: &'static str,
    /// The file, or what else was searched.
    pub place: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings(BTreeSet<Finding>);

impl Search {
    /// A search for secrets, each with a name. Names are what findings speak of.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut patterns = Vec::new();
        let mut needles = Vec::new();
        for (name, secret) in secrets {
            assert!(secret.len() >= 16, "{name} is found by accident");
            for (form, needle) in forms(secret) {
                patterns.push((name.to_owned(), form));
                needles.push(needle);
            }
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .build(&needles)
            .expect("build the search");
        Self {
            automaton,
            patterns,
        }
    }

    /// Looks into `bytes`, which came from `place`.
    pub fn bytes(&self, place: &str, bytes: &[u8], findings: &mut Findings) {
        for found in self.automaton.find_iter(bytes) {
            let (secret, form) = &self.patterns[found.pattern().as_usize()];
            findings.0.insert(Finding {
                secret: secret.clone(),
                form,
                place: place.to_owned(),
            });
        }
    }

    /// Looks into every file below `directory`. Places are named relative to it.
    pub fn tree(&self, directory: &Path, findings: &mut Findings) {
        let mut directories = vec![directory.to_owned()];
        while let Some(next) = directories.pop() {
            let Ok(entries) = fs::read_dir(&next) else {
                continue; // the server has removed it
            };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                match fs::read(&path) {
                    Ok(bytes) => {
                        let place = path.strip_prefix(directory).expect("it lies below");
                        self.bytes(&place.display().to_string(), &bytes, findings);
                    }
                    // Files come and go while a server runs; any other reason would hide a leak.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if path.to_string_lossy().contains(".s.PGSQL") => drop(error),
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            }
        }
    }
}

impl Findings {
    /// The places where `secret` was found.
    pub fn places(&self, secret: &str) -> Vec<&str> {
        self.of(secret)
            .map(|finding| finding.place.as_str())
            .collect()
    }

    /// Fails the test if `secret` was found anywhere.
    pub fn assert_nowhere(&self, secret: &str) {
        let leaks: Vec<_> = self.of(secret).collect();
        assert!(leaks.is_empty(), "leaked: {leaks:?}");
    }

    /// Fails the test unless `secret` was found in a place that begins with `place`.
    pub fn assert_in(&self, secret: &str, place: &str) {
        assert!(
            self.of(secret)
                .any(|finding| finding.place.starts_with(place)),
            "the search is blind: {secret} is not in {place}, only in {:?}",
            self.places(secret)
        );
    }

    /// Fails the test unless `secret` was found in this form.
    pub fn assert_form(&self, secret: &str, form: &str) {
        assert!(
            self.of(secret).any(|finding| finding.form == form),
            "the search is blind: {secret} was not found as {form}"
        );
    }

    fn of(&self, secret: &str) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(move |found| found.secret == secret)
    }
}

fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("raw", secret.to_vec()),
        ("hex", hex::encode(secret).into_bytes()),
        ("hex", hex::encode_upper(secret).into_bytes()),
    ];
    // In base64 a secret looks different at each of three places within a longer value. The
    // characters at its ends depend on its neighbours.
    for before in 0..3usize {
        let mut shifted = vec![0; before];
        shifted.extend_from_slice(secret);
        let (start, end) = ((before * 4).div_ceil(3), shifted.len() / 3 * 4);
        for alphabet in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
            let needle = alphabet.encode(&shifted).into_bytes()[start..end].to_vec();
            if forms.iter().all(|(_, known)| *known != needle) {
                forms.push(("base64", needle));
            }
        }
    }
    forms
}

#[test]
fn the_search_finds_a_secret_in_every_form_and_at_every_offset() {
    let secret = [0xfbu8, 0xef, 0xbe, 0x00, 0x0a, 0xff].repeat(4);
    let search = Search::new([("secret", secret.as_slice())]);
    let found = |bytes: &[u8]| {
        let mut findings = Findings::default();
        search.bytes("here", bytes, &mut findings);
        !findings.places("secret").is_empty()
    };
    for before in 0..7 {
        let mut value = vec![b'x'; before];
        value.extend_from_slice(&secret);
        value.extend_from_slice(b"yz");
        assert!(found(&value));
        assert!(found(hex::encode(&value).as_bytes()));
        assert!(found(hex::encode_upper(&value).as_bytes()));
        assert!(found(BASE64_STANDARD.encode(&value).as_bytes()), "{before}");
        assert!(found(BASE64_URL_SAFE.encode(&value).as_bytes()), "{before}");
    }
    assert!(!found(&secret[1..]));
}
