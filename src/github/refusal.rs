//! What an answer other than 2xx means. Pure.
//!
//! In: status, headers and GitHub's words. Out: whether asking again may help, and which of the
//! many reasons for a 403 it is. GitHub tells them apart in its message alone; the phrases are
//! those of its own documentation and of reports by users.

/// An answer other than 2xx, with the headers that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `message` of the body, or the body.
    pub message: String,
    /// `retry-after`, seconds.
    pub retry_after_s: Option<u64>,
    /// `x-ratelimit-remaining`, requests.
    pub remaining: Option<u64>,
    /// `x-ratelimit-reset`, Unix seconds.
    pub reset_s: Option<u64>,
    /// `date`, Unix seconds: the server's own clock, so that ours does not matter.
    pub date_s: Option<u64>,
    /// `x-github-sso` was there: the organization wants single sign-on.
    pub sso: bool,
    /// The body is not one of GitHub's: something on the way has answered.
    pub foreign: bool,
    /// An Enterprise Server pointed at its documentation as a whole: it has no such route. For a
    /// thing that is missing it points at the route's own page.
    pub no_route: bool,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The token lacks a right. Trying again changes nothing.
    Forbidden,
    /// Too many requests.
    Limited,
    /// A fault of the server that may pass.
    Passing,
    /// Anything else, for good.
    Final,
}

/// Why something is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The token of a workflow or an app lacks a permission.
    Integration,
    /// A person's token lacks a permission or a scope.
    PersonalToken,
    /// Only an app's token will do, as for check runs.
    AppOnly,
    /// The organization does not take this kind of token.
    TokenPolicy,
    /// The person behind the token has too small a role in the repository.
    Role,
    /// The organization wants single sign-on.
    SingleSignOn,
    /// The organization takes requests from listed addresses only.
    AddressList,
    /// The organization has not approved the app.
    AppPolicy,
    /// The repository is archived.
    Archived,
    /// The conversation is locked.
    Locked,
    /// The account, the app's installation or the repository is suspended or blocked.
    Suspended,
    /// The User-Agent header did not arrive.
    UserAgent,
    /// Something on the way has answered in GitHub's place.
    Foreign,
    /// None of the above.
    Other,
}

/// Phrases, in lower case, in the order in which they decide.
const PHRASES: [(&str, Denial); 18] = [
    (
        "resource not accessible by integration",
        Denial::Integration,
    ),
    (
        "resource not accessible by personal access token",
        Denial::PersonalToken,
    ),
    ("resource not accessible", Denial::Integration),
    ("authenticate via a github app", Denial::AppOnly),
    ("forbids access via", Denial::TokenPolicy),
    ("saml", Denial::SingleSignOn),
    ("single sign-on", Denial::SingleSignOn),
    ("ip allow list", Denial::AddressList),
    ("access restrictions", Denial::AppPolicy),
    ("archived", Denial::Archived),
    ("read-only", Denial::Archived),
    ("is locked", Denial::Locked),
    ("suspended", Denial::Suspended),
    ("access blocked", Denial::Suspended),
    ("user-agent header", Denial::UserAgent),
    ("must have admin", Denial::Role),
    ("must have push", Denial::Role),
    ("must have write", Denial::Role),
];

impl Refusal {
    /// Classes the refusal.
    pub fn kind(&self) -> Kind {
        match self.status {
            // A missing right stays missing, even when the quota happens to be used up too.
            403 if self.phrase().is_none() && self.limited() => Kind::Limited,
            403 => Kind::Forbidden,
            429 => Kind::Limited,
            500 | 502 | 503 | 504 => Kind::Passing,
            _ => Kind::Final,
        }
    }

    /// Why a 403 forbids.
    pub fn denial(&self) -> Denial {
        match self.phrase() {
            Some(denial) => denial,
            None if self.sso => Denial::SingleSignOn,
            None if self.foreign => Denial::Foreign,
            None => Denial::Other,
        }
    }

    fn phrase(&self) -> Option<Denial> {
        let message = self.message.to_lowercase();
        let found = PHRASES.iter().find(|(words, _)| message.contains(words));
        found.map(|(_, denial)| *denial)
    }

    fn limited(&self) -> bool {
        let message = self.message.to_lowercase();
        let said = ["rate limit", "abuse detection"]
            .iter()
            .any(|words| message.contains(words));
        self.retry_after_s.is_some() || self.remaining == Some(0) || said
    }

    /// Seconds the server asks for.
    pub(super) fn asked_s(&self) -> Option<u64> {
        let until_reset = || {
            let spent = self.remaining == Some(0);
            // One more second: the header's clock has no fractions.
            let wait = self.reset_s?.saturating_sub(self.date_s?) + 1;
            spent.then_some(wait)
        };
        self.retry_after_s.or_else(until_reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(message: &str) -> Refusal {
        Refusal {
            status: 403,
            message: message.into(),
            ..Refusal::default()
        }
    }

    #[test]
    fn the_reasons_for_a_403_are_told_apart() {
        let cases = [
            (
                "Resource not accessible by integration",
                Denial::Integration,
            ),
            (
                "Resource not accessible by personal access token",
                Denial::PersonalToken,
            ),
            (
                "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this organization.",
                Denial::SingleSignOn,
            ),
            (
                "Although you appear to have the correct authorization credentials, the `org` organization has an IP allow list enabled, and 192.0.2.1 is not permitted to access this resource.",
                Denial::AddressList,
            ),
            (
                "Although you appear to have the correct authorization credentials, the `org` organization has enabled OAuth App access restrictions.",
                Denial::AppPolicy,
            ),
            ("You must authenticate via a GitHub App.", Denial::AppOnly),
            (
                "`org` forbids access via a personal access token (classic).",
                Denial::TokenPolicy,
            ),
            ("Repository was archived so is read-only.", Denial::Archived),
            (
                "Unable to create comment because issue is locked.",
                Denial::Locked,
            ),
            ("Sorry. Your account was suspended", Denial::Suspended),
            ("Repository access blocked", Denial::Suspended),
            (
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
                Denial::UserAgent,
            ),
            ("Must have admin rights to Repository.", Denial::Role),
            ("Forbidden", Denial::Other),
        ];
        for (message, denial) in cases {
            let refusal = forbidden(message);
            assert_eq!(refusal.denial(), denial, "{message}");
            assert_eq!(refusal.kind(), Kind::Forbidden, "{message}");
        }
        let page = Refusal {
            foreign: true,
            ..forbidden("<html>Access denied</html>")
        };
        assert_eq!(page.denial(), Denial::Foreign);
        let header_alone = Refusal {
            sso: true,
            ..forbidden("Forbidden")
        };
        assert_eq!(header_alone.denial(), Denial::SingleSignOn);
    }

    #[test]
    fn limits_are_known_by_header_or_by_word() {
        for message in [
            "API rate limit exceeded for installation ID 1.",
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            "You have exceeded a secondary rate limit and have been temporarily blocked from content creation.",
            "You have triggered an abuse detection mechanism.",
        ] {
            assert_eq!(forbidden(message).kind(), Kind::Limited, "{message}");
        }
        let header = Refusal {
            retry_after_s: Some(3),
            ..forbidden("Forbidden")
        };
        assert_eq!(header.kind(), Kind::Limited);
        let spent = Refusal {
            remaining: Some(0),
            ..forbidden("Forbidden")
        };
        assert_eq!(spent.kind(), Kind::Limited);
        // Not even when the quota happens to be used up too.
        let both = Refusal {
            remaining: Some(0),
            ..forbidden("Resource not accessible by integration")
        };
        assert_eq!(both.kind(), Kind::Forbidden);
    }
}
