//! The style sheet: one file for the browser from one partial per component.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// `main.css` of `folder` with every line `@import "partial.css";` replaced by that file.
///
/// # Errors
/// A partial that is not there; an import in another form, which would make the browser ask for a file that the site
/// does not have; a partial that no line imports, which would be forgotten silently.
pub fn join(folder: &Path) -> Result<String> {
    let main = read(folder, "main.css")?;
    let mut joined = String::new();
    let mut imported = vec!["main.css".to_string()];
    for line in main.lines() {
        if !line.trim_start().starts_with("@import") {
            joined += line;
            joined.push('\n');
            continue;
        }
        let Some(name) = line.trim().strip_prefix("@import \"").and_then(|rest| rest.strip_suffix("\";")) else {
            bail!("style/main.css: write imports as @import \"name.css\"; instead of: {line}");
        };
        let partial = read(folder, name)?;
        if partial.contains("@import") {
            bail!("style/{name} imports another file; only main.css may");
        }
        joined += &partial;
        joined.push('\n');
        imported.push(name.to_string());
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".css") && !imported.contains(&name) {
            bail!("style/{name} is imported by no line of style/main.css");
        }
    }
    Ok(joined)
}

fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn partials_stand_where_they_are_imported() {
        let folder = folder(&[
            ("main.css", "/* first */\n@import \"b.css\";\n@import \"a.css\";\np {}\n"),
            ("a.css", "a {}"),
            ("b.css", "b {}"),
        ]);
        assert_eq!(join(folder.path()).unwrap(), "/* first */\nb {}\na {}\np {}\n");
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        for files in [
            [("main.css", "@import \"gone.css\";"), ("a.css", "")],
            [("main.css", "@import url(a.css);"), ("a.css", "")],
            [("main.css", "p {}"), ("forgotten.css", "")],
            [("main.css", "@import \"a.css\";"), ("a.css", "@import \"b.css\";")],
        ] {
            assert!(join(folder(&files).path()).is_err(), "{files:?}");
        }
    }
}
