use crate::api::people::{
    ChangeRole, Invite, MakeResetLink, PeopleData, RemovePerson, RevokeAnyKey, WithdrawInvitation, get_people,
};
use crate::components::{
    Ask, Button, ButtonKind, Card, EmptyState, ErrorNotice, KeyTable, Loading, MadeOnce, Notice, PageHeader,
    TableScroll, TimeStamp, Tone,
};
use crate::refused::{refusal, refused};
use domain::people::{Invitation, Me, Person, Role};
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_query_map;

/// Who may do what: for administrators.
#[component]
pub fn PeoplePage() -> impl IntoView {
    let made = use_query_map().with_untracked(|query| query.get("made").unwrap_or_default());
    let data = Resource::new_blocking(|| (), move |()| get_people(made.clone()));
    let is_open = use_context::<Me>().unwrap_or_default().is_open;
    let failed = StoredValue::new([
        refusal::<Invite>(),
        refusal::<WithdrawInvitation>(),
        refusal::<ChangeRole>(),
        refusal::<RemovePerson>(),
        refusal::<MakeResetLink>(),
        refusal::<RevokeAnyKey>(),
    ]);
    view! {
        <PageHeader title="People" subtitle=Some("Who may do what on this server.".to_string()) />
        <Suspense fallback=|| view! { <Loading what="people" /> }>
            {move || Suspend::new(async move {
                match data.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(data) => view! {
                        <div class="stack-loose">
                            {is_open.then(|| view! { <Open /> })}
                            {refused(failed.get_value())}
                            <People data is_open />
                        </div>
                    }
                    .into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

/// What a server that asks nobody for their name is, and how it becomes another.
#[component]
fn Open() -> impl IntoView {
    view! {
        <Notice tone=Tone::Info title="This server is open">
            <p>
                "Everybody who reaches it may do everything, as on one's own machine. To let a team in, start it with "
                <code>"ayar serve --access sign-in"</code>
                ", or on an address that others reach: it then prints a link for the first administrator, who invites the others here."
            </p>
            <p>
                "Programs may use " <a href="/account#keys">"keys"</a> " already now: a key that is sent is checked, and limits what the program may do."
            </p>
        </Notice>
    }
    .into_any()
}

#[component]
fn People(data: PeopleData, is_open: bool) -> impl IntoView {
    let PeopleData { people, invitations, keys, made, my_id, now_ms } = data;
    let list = match people.is_empty() {
        true => view! {
            <EmptyState title="No accounts yet" text="The first administrator is made by the link that the server prints when it starts with sign-in." />
        }
        .into_any(),
        false => view! { <Members people my_id /> }.into_any(),
    };
    view! {
        {made
            .map(|made| {
                view! {
                    <MadeOnce title="The new link" made help="Give it to the one person it is for. It is not shown again, and opens once." />
                }
            })}
        {list}
        {(!is_open).then(|| view! { <Invitations invitations /> })}
        <section id="keys">
            <Card title="Keys of all" note="Everybody makes their own on the page of their account.">
                <KeyTable keys now_ms revoke=RevokeAnyKey::url() is_of_all=true />
            </Card>
        </section>
    }
    .into_any()
}

#[component]
fn Members(people: Vec<Person>, my_id: Option<i64>) -> impl IntoView {
    let rows = people.into_iter().map(|person| view! { <Member person my_id /> }).collect_view();
    view! {
        <section class="card">
            <TableScroll label="People">
                <table class="table table-restack">
                    <thead>
                        <tr>
                            <th scope="col">"Person"</th>
                            <th scope="col">"Role"</th>
                            <th scope="col">"Last seen"</th>
                            <th scope="col">
                                <span class="visually-hidden">"Actions"</span>
                            </th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </section>
    }
    .into_any()
}

#[component]
fn Member(person: Person, my_id: Option<i64>) -> impl IntoView {
    let Person { id, name, email, role, seen_at_ms, .. } = person;
    let seen = match seen_at_ms {
        Some(at_ms) => view! { <TimeStamp at_ms /> }.into_any(),
        None => view! { <span>"not signed in"</span> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row" class="main">
                {name.clone()}
                {(my_id == Some(id)).then_some(" (you)")}
                <span class="small soft">{email}</span>
            </th>
            <td data-name="Role">
                <form method="post" action=ChangeRole::url() class="row">
                    <input type="hidden" name="id" value=id.to_string() />
                    <RoleSelect label=format!("Role of {name}") role />
                    <button type="submit" class="button" aria-label=format!("Change the role of {name}")>
                        "Change"
                    </button>
                </form>
            </td>
            <td class="soft" data-name="Last seen">
                {seen}
            </td>
            <td>
                <div class="row">
                    <form method="post" action=MakeResetLink::url()>
                        <input type="hidden" name="id" value=id.to_string() />
                        <button type="submit" class="button button-quiet" aria-label=format!("Password link for {name}")>
                            "Password link"
                        </button>
                    </form>
                    <Ask
                        id=format!("remove-{id}")
                        button="Remove"
                        button_label=format!("Remove {name}")
                        title=format!("Remove {name}?")
                    >
                        <p>"They are signed out everywhere, and their keys stop working. What they did stays, under their name."</p>
                        <form method="post" action=RemovePerson::url()>
                            <input type="hidden" name="id" value=id.to_string() />
                            <Button type_="submit" kind=ButtonKind::Danger>
                                "Remove this person"
                            </Button>
                        </form>
                    </Ask>
                </div>
            </td>
        </tr>
    }
    .into_any()
}

#[component]
fn Invitations(invitations: Vec<Invitation>) -> impl IntoView {
    let rows = invitations
        .into_iter()
        .map(|invitation| {
            let role = invitation.role.as_str();
            view! {
                <li class="row-between">
                    <span>
                        {role} <span class="small soft">
                            ", by " {invitation.invited_by} ", open until " <TimeStamp at_ms=invitation.expires_at_ms />
                        </span>
                    </span>
                    <form method="post" action=WithdrawInvitation::url()>
                        <input type="hidden" name="id" value=invitation.id.to_string() />
                        <button type="submit" class="button button-quiet" aria-label=format!("Withdraw the invitation as {role}")>
                            "Withdraw"
                        </button>
                    </form>
                </li>
            }
        })
        .collect_view();
    view! {
        <Card title="Invitations" note="A link by which one person makes an account. It opens once, within a week.">
            <form method="post" action=Invite::url() class="row">
                <RoleSelect label="Role of the invited person" role=Role::Viewer />
                <Button type_="submit" kind=ButtonKind::Primary>
                    "Make an invitation"
                </Button>
            </form>
            <p class="small soft">{roles_in_words()}</p>
            <ul class="invitations">{rows}</ul>
        </Card>
    }
    .into_any()
}

fn roles_in_words() -> String {
    let words = Role::ALL.map(|role| format!("{role}: {}", role.help()));
    format!("{}.", words.join("; "))
}

#[component]
fn RoleSelect(#[prop(into)] label: String, role: Role) -> impl IntoView {
    let options = Role::ALL
        .into_iter()
        .map(|choice| {
            view! {
                <option value=choice.as_str() selected=choice == role>
                    {choice.as_str()}
                </option>
            }
        })
        .collect_view();
    view! {
        <select class="select role-select" name="role" aria-label=label required>
            {options}
        </select>
    }
    .into_any()
}
