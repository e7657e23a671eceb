//! Who may ask for what: one table of all that the server answers, and the one question asked of it. What is not in the
//! table is for administrators alone.

use super::{Role, Scope};

/// What an address asks of whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// For everybody; who it is is not even looked up.
    Nothing,
    /// For everybody; who it is makes a difference.
    Anyone,
    /// Asking a classifier.
    Classify,
    /// Seeing what the team has.
    Read,
    /// Changing it.
    Change,
    /// One's own account, in a browser.
    Own,
    /// Deciding about others and about the server.
    Administer,
}

/// What somebody may do: what their role allows, within the scopes if it is a key that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    pub role: Role,
    /// None: no key, but the person.
    pub scopes: Option<Vec<Scope>>,
}

impl Power {
    pub fn allows(&self, need: Need) -> bool {
        let within = |scope: Scope| self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope));
        match need {
            Need::Nothing | Need::Anyone => true,
            Need::Classify => within(Scope::Classify),
            Need::Read => within(Scope::Read),
            Need::Change => self.role >= Role::Editor && within(Scope::Train),
            Need::Own => self.scopes.is_none(),
            Need::Administer => self.role == Role::Administrator && self.scopes.is_none(),
        }
    }
}

/// What that address asks of whoever asks for it; None: it is not in the table. `HEAD` counts as `GET`.
pub fn need(method: &str, path: &str) -> Option<Need> {
    if let Some(function) = path.strip_prefix(FUNCTIONS_BELOW) {
        let name = function_name(function);
        return FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, need)| *need);
    }
    let method = if method == "HEAD" { "GET" } else { method };
    ROUTES
        .iter()
        .find(|(methods, pattern, _)| methods.split(' ').any(|known| known == method) && matches(pattern, path))
        .map(|(_, _, need)| *need)
}

const FUNCTIONS_BELOW: &str = "/api/";

/// Server functions are called by their name and a number that belongs to the build.
fn function_name(function: &str) -> &str {
    function.trim_end_matches(|letter: char| letter.is_ascii_digit())
}

/// `{id}` stands for one part of a path, `{*rest}` for all that is left, of which there must be something.
fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        let Some(part) = parts.next() else { return false };
        match wanted {
            rest if rest.starts_with("{*") => return !part.is_empty() || parts.next().is_some(),
            hole if hole.starts_with('{') => {
                if part.is_empty() {
                    return false;
                }
            }
            word => {
                if part != word {
                    return false;
                }
            }
        }
    }
    parts.next().is_none()
}

/// Methods, pattern and need; the first that fits counts.
const ROUTES: &[(&str, &str, Need)] = &[
    // The site's files, the probes, and what has a key of its own in its address.
    ("GET", "/pkg/{*file}", Need::Nothing),
    ("GET", "/vendor/{*file}", Need::Nothing),
    ("GET", "/favicon.svg", Need::Nothing),
    ("GET", "/theme.js", Need::Nothing),
    ("GET", "/healthz", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
    // It asks for a token of its own.
    ("GET", "/metrics", Need::Nothing),
    ("GET POST", "/demo/{token}", Need::Nothing),
    ("GET", "/demo/{token}/brand.css", Need::Nothing),
    ("POST", "/demo/{token}/classify", Need::Nothing),
    ("GET", "/demo-files/{file}", Need::Nothing),
    // Becoming somebody.
    ("GET", "/sign-in", Need::Anyone),
    ("GET", "/setup/{token}", Need::Anyone),
    ("GET", "/reset/{token}", Need::Anyone),
    ("GET", "/invitations/{token}", Need::Anyone),
    ("GET", "/account", Need::Own),
    ("GET", "/people", Need::Administer),
    // For programs.
    ("POST", "/v1/{*rest}", Need::Classify),
    ("POST", "/models/{id}", Need::Classify),
    ("GET", "/openapi.json", Need::Classify),
    ("GET", "/docs", Need::Classify),
    ("GET", "/docs/{file}", Need::Classify),
    // Files that are sent in pieces.
    ("POST", "/uploads", Need::Change),
    ("GET PUT", "/uploads/{id}", Need::Change),
    // What the team has.
    ("GET", "/", Need::Read),
    ("GET", "/datasets", Need::Read),
    // It shows files that somebody is about to import.
    ("GET", "/datasets/new", Need::Change),
    ("GET", "/datasets/{*rest}", Need::Read),
    ("GET", "/models", Need::Read),
    ("GET", "/runs", Need::Read),
    ("GET", "/runs/{*rest}", Need::Read),
    ("GET", "/compare", Need::Read),
    ("GET", "/compare.csv", Need::Read),
    ("GET", "/compare.json", Need::Read),
    ("GET", "/deployments", Need::Read),
    ("GET", "/deployments/{*rest}", Need::Read),
    ("GET", "/sweeps/{*rest}", Need::Read),
    ("GET", "/classify", Need::Read),
];

/// Server functions by name. A page that the server renders calls its functions without asking again, so that a page
/// must ask for as much as they do.
const FUNCTIONS: &[(&str, Need)] = &[
    // people
    ("sign_in", Need::Anyone),
    ("sign_out", Need::Anyone),
    ("get_setup", Need::Anyone),
    ("set_up", Need::Anyone),
    ("get_reset", Need::Anyone),
    ("reset_password", Need::Anyone),
    ("get_invitation", Need::Anyone),
    ("accept_invitation", Need::Anyone),
    ("get_account", Need::Own),
    ("rename_me", Need::Own),
    ("change_password", Need::Own),
    ("end_session", Need::Own),
    ("sign_out_everywhere", Need::Own),
    ("make_key", Need::Own),
    ("revoke_key", Need::Own),
    ("get_people", Need::Administer),
    ("invite", Need::Administer),
    ("withdraw_invitation", Need::Administer),
    ("change_role", Need::Administer),
    ("remove_person", Need::Administer),
    ("make_reset_link", Need::Administer),
    ("revoke_any_key", Need::Administer),
    // datasets
    ("list_datasets", Need::Read),
    ("get_dataset", Need::Read),
    ("rejected_rows", Need::Read),
    ("get_dataset_page", Need::Read),
    ("newer_versions", Need::Read),
    ("query_rows", Need::Read),
    ("edit_row", Need::Change),
    ("undo_version", Need::Change),
    ("restore_version", Need::Change),
    ("get_examination", Need::Read),
    ("get_finding", Need::Read),
    ("preview_repair", Need::Change),
    ("apply_repair", Need::Change),
    ("upload", Need::Change),
    ("preview_upload", Need::Change),
    ("import", Need::Change),
    ("get_import_progress", Need::Change),
    ("look_at_hub_dataset", Need::Change),
    ("fetch_hub_dataset", Need::Change),
    ("get_hub_fetch", Need::Change),
    ("stop_hub_fetch", Need::Change),
    ("list_label_checks", Need::Read),
    ("start_label_check", Need::Change),
    ("get_review_page", Need::Read),
    ("get_review", Need::Read),
    ("hold_row", Need::Change),
    ("decide_row", Need::Change),
    ("withdraw_decision", Need::Change),
    ("apply_review", Need::Change),
    ("freeze_test", Need::Change),
    // models
    ("get_models_page", Need::Read),
    ("list_models", Need::Read),
    ("check_model", Need::Change),
    ("add_model", Need::Change),
    ("pause_model", Need::Change),
    ("resume_model", Need::Change),
    ("remove_model", Need::Change),
    // The Hub is asked with the server's token, for everybody.
    ("set_token", Need::Administer),
    ("forget_token", Need::Administer),
    // runs
    ("list_runs", Need::Read),
    ("list_runs_and_sweeps", Need::Read),
    ("get_overview", Need::Read),
    ("get_run", Need::Read),
    ("get_run_summary", Need::Read),
    ("get_new_run_data", Need::Read),
    ("get_split_basis", Need::Read),
    ("start_run", Need::Change),
    ("estimate_run", Need::Read),
    ("preview_prompt", Need::Read),
    ("cancel_run", Need::Change),
    ("resume_run", Need::Change),
    ("move_queued_run", Need::Change),
    ("set_run_priority", Need::Change),
    ("pause_queue", Need::Change),
    ("resume_queue", Need::Change),
    ("get_sweep", Need::Read),
    ("get_seed_curves", Need::Read),
    ("start_sweep", Need::Change),
    ("cancel_sweep", Need::Change),
    ("resume_sweep", Need::Change),
    ("get_origin", Need::Read),
    ("reproduce_run", Need::Change),
    ("get_exports", Need::Read),
    ("list_exports", Need::Read),
    ("start_export", Need::Change),
    ("remove_export", Need::Change),
    ("push_export", Need::Change),
    ("get_evaluation", Need::Read),
    ("list_test_rows", Need::Read),
    ("compare_runs", Need::Read),
    ("explain", Need::Classify),
    // serving
    ("list_classifiers", Need::Read),
    ("classify", Need::Classify),
    ("get_deployments", Need::Read),
    ("get_deployment", Need::Read),
    ("create_deployment", Need::Change),
    ("move_deployment", Need::Change),
    ("roll_back_deployment", Need::Change),
    ("start_canary", Need::Change),
    ("stop_canary", Need::Change),
    ("remove_deployment", Need::Change),
    ("create_demo", Need::Change),
    ("revoke_demo", Need::Change),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_by_method_and_parts() {
        for (method, path, wanted) in [
            ("GET", "/runs/7", Some(Need::Read)),
            ("HEAD", "/runs/7", Some(Need::Read)),
            ("POST", "/runs/7", None),
            ("GET", "/models", Some(Need::Read)),
            ("POST", "/models/run-3", Some(Need::Classify)),
            ("GET", "/models/run-3", None),
            ("POST", "/v1/classify/stream", Some(Need::Classify)),
            ("POST", "/v1/", None),
            ("PUT", "/uploads/x", Some(Need::Change)),
            ("PUT", "/uploads/x/y", None),
            ("GET", "/pkg/app.wasm", Some(Need::Nothing)),
            ("GET", "/pkg", None),
            ("GET", "/people/", None),
            ("GET", "//people", None),
            ("GET", "/setup/", None),
            ("POST", "/api/start_run1234567890", Some(Need::Change)),
            ("POST", "/api/upload", Some(Need::Change)),
            ("POST", "/api/unheard_of12", None),
            ("POST", "/api/start_run/1", None),
            ("GET", "/nowhere", None),
        ] {
            assert_eq!(need(method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn each_is_listed_once() {
        for (index, (name, _)) in FUNCTIONS.iter().enumerate() {
            assert!(FUNCTIONS[..index].iter().all(|(other, _)| other != name), "{name}");
            assert_eq!(function_name(name), *name, "a name that ends in a digit cannot be told from its number");
        }
    }

    #[test]
    fn a_key_does_what_its_scopes_and_its_owner_may() {
        let person = |role| Power { role, scopes: None };
        let key = |role, scopes: &[Scope]| Power { role, scopes: Some(scopes.to_vec()) };
        let may = |power: Power| {
            [Need::Classify, Need::Read, Need::Change, Need::Own, Need::Administer].map(|need| power.allows(need))
        };
        assert_eq!(may(person(Role::Viewer)), [true, true, false, true, false]);
        assert_eq!(may(person(Role::Editor)), [true, true, true, true, false]);
        assert_eq!(may(person(Role::Administrator)), [true, true, true, true, true]);
        assert_eq!(may(key(Role::Administrator, &Scope::ALL)), [true, true, true, false, false]);
        assert_eq!(may(key(Role::Administrator, &[Scope::Classify])), [true, false, false, false, false]);
        assert_eq!(may(key(Role::Editor, &[Scope::Train])), [false, false, true, false, false]);
        assert_eq!(may(key(Role::Viewer, &Scope::ALL)), [true, true, false, false, false]);
    }
}
