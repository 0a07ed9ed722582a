//! docs/errors.md lists every error: what the source can raise is compared with what the page says.
//!
//! Found are the messages given to `report` and `report_hint`, and those of enums that derive their
//! texts with `#[error("…")]` and their SQLSTATEs in a function `code`. A message that is put
//! together elsewhere is not found.

use proc_macro2::TokenTree;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Expr, Lit, spanned::Spanned};

/// A message in the source.
struct Message {
    place: String,
    /// With placeholders in braces.
    text: String,
    /// Such as `ERRCODE_UNDEFINED_OBJECT`, where it can be told.
    code: Option<String>,
}

/// A message on the page.
struct Entry {
    /// With an ellipsis for what varies.
    text: String,
    sqlstate: Option<String>,
}

#[test]
fn every_error_of_the_source_is_listed_with_its_sqlstate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let entries = entries(&page);
    let sqlstates = sqlstates();
    let mut messages = Vec::new();
    for file in sources(&root.join("src")) {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let source = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut found = Found {
            file: name,
            messages: Vec::new(),
            codes: HashMap::new(),
        };
        found.visit_file(&source);
        messages.extend(found.finish());
    }
    assert!(
        messages.len() > 100,
        "only {} messages found",
        messages.len()
    );
    let mut missing = Vec::new();
    for message in &messages {
        let listed: Vec<&Entry> = entries
            .iter()
            .filter(|entry| stands_for(&entry.text, &message.text))
            .collect();
        let code = message.code.as_ref().map(|name| {
            sqlstates
                .get(name)
                .unwrap_or_else(|| panic!("{}: no SQLSTATE is called {name}", message.place))
        });
        let agrees = |entry: &&Entry| match (&entry.sqlstate, code) {
            (Some(listed), Some(code)) => listed == code,
            _ => true,
        };
        let code = code.map_or("?", String::as_str);
        if listed.is_empty() {
            missing.push(format!(
                "{}: not listed. Add a row: | `{code}` | `{}` | meaning | what to do |",
                message.place,
                ellipsis(&message.text)
            ));
        } else if !listed.iter().any(agrees) {
            missing.push(format!(
                "{}: \"{}\" is listed under `{}`, but raised with `{code}`",
                message.place,
                message.text,
                listed[0].sqlstate.as_deref().unwrap_or("?")
            ));
        }
    }
    assert!(
        missing.is_empty(),
        "docs/errors.md and the source disagree in {} places. On the page, write … for what varies:\n{}",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn the_comparison_tells_apart_what_differs() {
    let source = "role \"{role}\" has no usage {usage}";
    assert!(same(source, "role \"…\" has no usage …"));
    assert!(same(source, "role \"bob\" has no usage decrypt"));
    assert!(same("{} must not be NULL", "… must not be NULL"));
    assert!(same(
        "the value is too long: at most {n}",
        "the value is too long …"
    ));
    assert!(!same(source, "role \"…\" has no grant …"));
    assert!(!same("unknown key usage", "unknown key purpose"));
    assert!(!same("the column must be named", "… must be empty"));
    assert!(!same("a new error nobody wrote down", "…"));
}

/// Whether the page has the source's message, or what comes after its first colon: a row may list
/// several reasons of one refusal.
fn stands_for(listed: &str, message: &str) -> bool {
    let reason = message.split_once(": ").map(|(_, reason)| reason);
    same(message, listed)
        || reason
            .is_some_and(|reason| reason.split_whitespace().count() > 3 && same(reason, listed))
}

/// Whether the page's text stands for the source's. A placeholder stands for words, an ellipsis for
/// words or nothing; what remains must be equal, and must be most of the source's text.
fn same(message: &str, listed: &str) -> bool {
    let message: Vec<&str> = message.split_whitespace().collect();
    let listed: Vec<&str> = listed.split_whitespace().collect();
    let fixed = |words: &[&str], open: fn(&str) -> bool| words.iter().filter(|w| !open(w)).count();
    let (in_message, in_listed) = (fixed(&message, varies), fixed(&listed, is_open));
    match common(&message, &listed) {
        // A message that is hardly more than placeholders would match anything.
        Some(equal) if in_message < 3 => equal >= in_message.max(1) && equal * 2 >= in_listed,
        Some(equal) => equal >= 2 && equal * 2 >= in_message,
        None => false,
    }
}

/// How many fixed words are equal in the best alignment, if there is any.
fn common(message: &[&str], listed: &[&str]) -> Option<usize> {
    let mut best = vec![vec![None; listed.len() + 1]; message.len() + 1];
    best[message.len()][listed.len()] = Some(0);
    for i in (0..=message.len()).rev() {
        for j in (0..=listed.len()).rev() {
            let mut found: Option<usize> = best[i][j];
            let mut take = |other: Option<usize>, more: usize| {
                found = found.max(other.map(|count| count + more));
            };
            if j < listed.len() && is_open(listed[j]) {
                take(best[i][j + 1], 0);
                if i < message.len() {
                    take(best[i + 1][j], 0);
                }
            }
            if i < message.len() && j < listed.len() {
                if varies(message[i]) {
                    take(best[i + 1][j + 1], 0);
                    take(best[i][j + 1], 0);
                } else if bare(message[i]) == bare(listed[j]) {
                    take(best[i + 1][j + 1], 1);
                }
            }
            best[i][j] = found;
        }
    }
    best[0][0]
}

/// Without the punctuation that an ellipsis may stand for.
fn bare(word: &str) -> &str {
    word.trim_end_matches([':', ';', ',', '.'])
}

fn varies(word: &str) -> bool {
    word.contains('{')
}

fn is_open(word: &str) -> bool {
    word.contains('…')
}

/// The source's text as the page would write it.
fn ellipsis(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => {
                if depth == 0 {
                    out.push('…');
                }
                depth += 1;
            }
            '}' => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// What stands in backticks, with the SQLSTATE of its table row.
fn entries(page: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in page.lines() {
        let spans: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let is_code = |span: &str| {
            span.len() == 5
                && span
                    .chars()
                    .all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
        };
        let sqlstate = spans.iter().find(|span| is_code(span));
        for span in spans.iter().filter(|span| !is_code(span)) {
            entries.push(Entry {
                text: (*span).to_owned(),
                sqlstate: sqlstate.map(|code| (*code).to_owned()),
            });
        }
    }
    entries
}

/// PostgreSQL's own list: `42704    E    ERRCODE_UNDEFINED_OBJECT    undefined_object`.
fn sqlstates() -> HashMap<String, String> {
    let stage = std::env::var_os("WARD_STAGE").expect("run the session tests with `make test`");
    let list = files(Path::new(&stage), &|path| path.ends_with("errcodes.txt"));
    let list = fs::read_to_string(list.first().expect("PostgreSQL's errcodes.txt")).unwrap();
    list.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (code, _, name) = (words.next()?, words.next()?, words.next()?);
            name.starts_with("ERRCODE_")
                .then(|| (name.to_owned(), code.to_owned()))
        })
        .collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    files(directory, &|path| {
        path.extension().is_some_and(|end| end == "rs")
    })
}

fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path(), wanted));
        } else if wanted(&entry.path()) {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// What one file raises.
struct Found {
    file: String,
    messages: Vec<Message>,
    /// From the variants of an enum to their SQLSTATEs.
    codes: HashMap<String, String>,
}

impl Found {
    fn finish(self) -> Vec<Message> {
        let codes = self.codes;
        self.messages
            .into_iter()
            .map(|mut message| {
                // Until here the name of the variant.
                message.code = message
                    .code
                    .and_then(|code| match code.strip_prefix("variant ") {
                        Some(variant) => codes.get(variant).cloned(),
                        None => Some(code),
                    });
                message
            })
            .collect()
    }

    fn add(&mut self, at: proc_macro2::Span, text: String, code: Option<String>) {
        self.messages.push(Message {
            place: format!("{}:{}", self.file, at.start().line),
            text,
            code,
        });
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let mut arguments = call.args.iter();
        let name = path_end(&call.func);
        if matches!(name.as_deref(), Some("report" | "report_hint"))
            && let (Some(code), Some(message)) = (arguments.next(), arguments.next())
            && let Some(text) = literal(message)
        {
            let code = path_end(code).filter(|code| code.starts_with("ERRCODE_"));
            self.add(call.span(), text, code);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        for attribute in &variant.attrs {
            if attribute.path().is_ident("error")
                && let syn::Meta::List(list) = &attribute.meta
                && let Some(TokenTree::Literal(text)) = list.tokens.clone().into_iter().next()
                && let Lit::Str(text) = Lit::new(text)
            {
                let code = format!("variant {}", variant.ident);
                self.add(variant.span(), text.value(), Some(code));
            }
        }
    }

    /// A function `code` that matches the variants.
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if function.sig.ident == "code" {
            let mut arms = Arms(Vec::new());
            arms.visit_block(&function.block);
            for (variants, code) in arms.0 {
                for variant in variants {
                    self.codes.insert(variant, code.clone());
                }
            }
        }
        visit::visit_impl_item_fn(self, function);
    }
}

/// The arms of a match that end in an SQLSTATE's name.
struct Arms(Vec<(Vec<String>, String)>);

impl<'ast> Visit<'ast> for Arms {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let body = match &*arm.body {
            Expr::Block(block) => match block.block.stmts.as_slice() {
                [syn::Stmt::Expr(last, None)] => last,
                _ => &arm.body,
            },
            body => body,
        };
        if let Some(code) = path_end(body).filter(|code| code.starts_with("ERRCODE_")) {
            let mut variants = Variants(Vec::new());
            variants.visit_pat(&arm.pat);
            self.0.push((variants.0, code));
        }
        visit::visit_arm(self, arm);
    }
}

/// The names of the variants in a pattern.
struct Variants(Vec<String>);

impl<'ast> Visit<'ast> for Variants {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0
            .extend(path.segments.last().map(|end| end.ident.to_string()));
    }
}

fn path_end(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.segments.last().map(|end| end.ident.to_string()),
        _ => None,
    }
}

/// The text of a literal, of `format!`, or of a conversion of either.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(syn::ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        Expr::MethodCall(call) => literal(&call.receiver),
        Expr::Reference(reference) => literal(&reference.expr),
        Expr::Macro(call) if call.mac.path.is_ident("format") => {
            match call.mac.tokens.clone().into_iter().next() {
                Some(TokenTree::Literal(text)) => match Lit::new(text) {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}
