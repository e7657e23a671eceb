use super::Field;
use domain::people::MIN_PASSWORD_CHARS;
use leptos::prelude::*;

/// A password that is typed: one that is there already, or a new one with what it must be.
#[component]
pub fn PasswordField(
    id: &'static str,
    /// Name of the form field.
    name: &'static str,
    label: &'static str,
    #[prop(optional)] is_new: bool,
) -> impl IntoView {
    let help = is_new.then(|| format!("At least {MIN_PASSWORD_CHARS} characters. Three or four words do well."));
    let autocomplete = if is_new { "new-password" } else { "current-password" };
    let help_id = is_new.then(|| format!("{id}-help"));
    let input = view! {
        <input
            class="input"
            type="password"
            id=id
            name=name
            required
            minlength=is_new.then(|| MIN_PASSWORD_CHARS.to_string())
            maxlength="500"
            autocomplete=autocomplete
            aria-describedby=help_id
        />
    };
    match help {
        Some(help) => view! {
            <Field label id help>
                {input}
            </Field>
        }
        .into_any(),
        None => view! {
            <Field label id>
                {input}
            </Field>
        }
        .into_any(),
    }
}

/// What somebody types who becomes a member: name, address and password.
#[component]
pub fn NewAccountFields() -> impl IntoView {
    view! {
        <Field label="Name" id="account-name">
            <input class="input" id="account-name" name="name" required maxlength="60" autocomplete="name" />
        </Field>
        <Field label="Email" id="account-email" help="You sign in with it. No mail is sent.">
            <input
                class="input"
                type="email"
                id="account-email"
                name="email"
                required
                maxlength="254"
                autocomplete="username"
                aria-describedby="account-email-help"
            />
        </Field>
        <PasswordField id="account-password" name="password" label="Password" is_new=true />
    }
    .into_any()
}
