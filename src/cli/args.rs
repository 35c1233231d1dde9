//! Settings as clap arguments, generated from the table.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::{
    settings::{Group, Kind, Setting},
    table::SETTINGS,
};

/// What was typed, by setting name. An absent key was not typed.
pub type Typed = BTreeMap<&'static str, String>;

fn argument(setting: &Setting) -> Arg {
    let help = match setting.default {
        Some(default) => format!("{} [default: {default}]", setting.help),
        None => setting.help.to_owned(),
    };
    let arg = Arg::new(setting.name).long(setting.name).help(help);
    let arg = match setting.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match setting.kind {
        Kind::Text | Kind::Secret => arg
            .value_name(setting.name.to_ascii_uppercase().replace('-', "_"))
            .allow_hyphen_values(true),
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
    }
}

fn add(command: Command, groups: &[Group]) -> Command {
    SETTINGS
        .iter()
        .filter(|setting| groups.contains(&setting.group))
        .fold(command, |command, setting| command.arg(argument(setting)))
}

fn collect(matches: &ArgMatches, groups: &[Group]) -> Typed {
    let typed = |setting: &Setting| {
        Some((
            setting.name,
            matches.get_one::<String>(setting.name)?.clone(),
        ))
    };
    SETTINGS
        .iter()
        .filter(|setting| groups.contains(&setting.group))
        .filter_map(typed)
        .collect()
}

macro_rules! settings_args {
    ($(#[$doc:meta])* $name:ident, $groups:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $name(pub Typed);

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                add(command, $groups)
            }

            fn augment_args_for_update(command: Command) -> Command {
                add(command, $groups)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(collect(matches, $groups)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0.extend(collect(matches, $groups));
                Ok(())
            }
        }
    };
}

settings_args!(
    /// Settings of `kitt run`.
    MeasureArgs,
    &[Group::Measure, Group::Config]
);
settings_args!(
    /// Settings of `kitt ci run`.
    CiArgs,
    &[Group::Measure, Group::Config, Group::Results, Group::Judge, Group::Publish]
);
settings_args!(
    /// Settings of `kitt gate`.
    JudgeArgs,
    &[Group::Config, Group::Judge]
);
settings_args!(
    /// Settings of `kitt baseline`.
    BaselineArgs,
    &[Group::Config, Group::Judge, Group::Publish]
);
settings_args!(
    /// Settings of `kitt ci report`.
    ReportArgs,
    &[Group::Config, Group::Results, Group::Judge, Group::Publish]
);
settings_args!(
    /// Settings of `kitt ci publish`.
    PublishArgs,
    &[Group::Config, Group::Results, Group::Judge, Group::Publish, Group::Foreign]
);

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::{CiCommand, Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_switch_needs_no_value_and_text_may_start_with_a_dash() {
        let line = [
            "kitt",
            "ci",
            "run",
            "--gate",
            "--engine-args",
            "--slowdown=0.3",
            "-m",
            "sim",
        ];
        let Command::Ci(CiCommand::Run(args)) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(args.settings.0["gate"], "true");
        assert_eq!(args.settings.0["engine-args"], "--slowdown=0.3");
        assert_eq!(args.settings.0["model"], "sim");
        assert!(!args.settings.0.contains_key("strict"));
    }
}
