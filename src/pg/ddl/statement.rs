//! What a statement may mean for audited tables, read from its parse tree. Names are taken from it,
//! expressions and literals never: they may hold secrets.

use crate::pg::encoding;
use pgrx::prelude::*;
use std::ffi::{CStr, c_char};

/// One action of an ALTER TABLE, or what a statement renames.
#[derive(Clone)]
pub struct Action {
    /// What is done, in the words of the command.
    pub what: &'static str,
    /// The name of what it is done to: a column, a trigger, a partition.
    pub name: Option<String>,
    /// Its new name.
    pub to: Option<String>,
}

/// An object that is made a member of the extension, or is none any more.
#[derive(Clone)]
pub struct Membership {
    /// ADD or DROP.
    pub what: &'static str,
    /// Whether it is a function.
    pub function: bool,
    /// Its name as given, where the command names it by parts.
    pub name: Option<String>,
}

/// A statement, as far as it matters to audited tables.
#[derive(Clone, Default)]
pub struct Statement {
    /// It may concern an audited table or a function of the audit.
    pub relevant: bool,
    /// A table may have got a parent, or a parent another owner.
    pub joins: bool,
    /// A partition may have left its parent.
    pub detaches: bool,
    /// It may have changed triggers.
    pub triggers: bool,
    /// It changes the columns of what inherits from a table, too.
    pub inherits: bool,
    /// What it does to the extension's members.
    pub membership: Option<Membership>,
    /// A column was added, so that one with a hidden name may exist again.
    pub adds_column: bool,
    /// A column's former and new name.
    pub renamed_column: Option<(String, String)>,
    /// What it does, for the trail.
    pub actions: Vec<Action>,
}

impl Statement {
    /// Reads a parse tree.
    ///
    /// # Safety
    /// `node` is NULL or the parse tree of a statement.
    pub unsafe fn of(node: *mut pg_sys::Node) -> Statement {
        use pg_sys::NodeTag::*;
        let joins = |joins: bool| Statement {
            relevant: joins,
            joins,
            ..Statement::default()
        };
        // SAFETY: the tag says what the node is.
        unsafe {
            if node.is_null() {
                return Statement::default();
            }
            match (*node).type_ {
                T_CreateStmt => joins(!(*node.cast::<pg_sys::CreateStmt>()).inhRelations.is_null()),
                T_CreateForeignTableStmt => {
                    let create = node.cast::<pg_sys::CreateForeignTableStmt>();
                    joins(!(*create).base.inhRelations.is_null())
                }
                T_CreateSchemaStmt => {
                    let create = node.cast::<pg_sys::CreateSchemaStmt>();
                    joins(!(*create).schemaElts.is_null())
                }
                T_AlterTableStmt => {
                    let stmt = node.cast::<pg_sys::AlterTableStmt>();
                    let mut found = Statement::alterations((*stmt).cmds);
                    found.inherits &= inherits((*stmt).relation);
                    found
                }
                T_AlterTableMoveAllStmt => Statement {
                    relevant: true,
                    actions: vec![Action {
                        what: what(pg_sys::AlterTableType::AT_SetTableSpace),
                        name: None,
                        to: None,
                    }],
                    ..Statement::default()
                },
                T_AlterExtensionContentsStmt => {
                    membership(&*node.cast::<pg_sys::AlterExtensionContentsStmt>())
                }
                T_RenameStmt => Statement::rename(&*node.cast::<pg_sys::RenameStmt>()),
                T_AlterObjectSchemaStmt => {
                    let stmt = node.cast::<pg_sys::AlterObjectSchemaStmt>();
                    Statement {
                        relevant: true,
                        actions: vec![Action {
                            what: "SET SCHEMA",
                            name: None,
                            to: text((*stmt).newschema),
                        }],
                        ..Statement::default()
                    }
                }
                T_CreateTrigStmt | T_AlterObjectDependsStmt => Statement {
                    relevant: true,
                    triggers: true,
                    ..Statement::default()
                },
                T_CreatePolicyStmt | T_AlterPolicyStmt | T_RuleStmt | T_CreateFunctionStmt
                | T_AlterFunctionStmt | T_AlterOwnerStmt => Statement {
                    relevant: true,
                    ..Statement::default()
                },
                _ => Statement::default(),
            }
        }
    }

    fn rename(stmt: &pg_sys::RenameStmt) -> Statement {
        // SAFETY: the names of a parse tree are NULL or C strings.
        let (name, to) = unsafe { (text(stmt.subname), text(stmt.newname)) };
        use pg_sys::ObjectType::{OBJECT_ATTRIBUTE, OBJECT_COLUMN};
        let column = matches!(stmt.renameType, OBJECT_COLUMN | OBJECT_ATTRIBUTE);
        Statement {
            relevant: true,
            // SAFETY: as above.
            inherits: column && unsafe { inherits(stmt.relation) },
            triggers: stmt.renameType == pg_sys::ObjectType::OBJECT_TRIGGER,
            renamed_column: name.clone().zip(to.clone()).filter(|_| column),
            actions: vec![Action {
                what: if column { "RENAME COLUMN" } else { "RENAME" },
                name,
                to,
            }],
            ..Statement::default()
        }
    }

    /// # Safety
    /// `list` is NULL or the list of an ALTER TABLE's commands.
    unsafe fn alterations(list: *mut pg_sys::List) -> Statement {
        use pg_sys::AlterTableType as alter;
        let mut found = Statement {
            relevant: true,
            ..Statement::default()
        };
        // SAFETY: the caller's promise.
        unsafe {
            let count = if list.is_null() { 0 } else { (*list).length };
            for at in 0..count as usize {
                let command = (*(*list).elements.add(at))
                    .ptr_value
                    .cast::<pg_sys::AlterTableCmd>();
                match (*command).subtype {
                    alter::AT_DetachPartition | alter::AT_DetachPartitionFinalize => {
                        found.detaches = true
                    }
                    alter::AT_AttachPartition | alter::AT_AddInherit | alter::AT_ChangeOwner => {
                        found.joins = true
                    }
                    alter::AT_AddColumn => {
                        found.adds_column = true;
                        found.inherits = true;
                    }
                    alter::AT_DropColumn
                    | alter::AT_AlterColumnType
                    | alter::AT_ColumnDefault
                    | alter::AT_DropNotNull
                    | alter::AT_SetNotNull
                    | alter::AT_DropExpression
                    | alter::AT_SetStorage
                    | alter::AT_SetCompression
                    | alter::AT_AddConstraint
                    | alter::AT_AlterConstraint
                    | alter::AT_DropConstraint => found.inherits = true,
                    alter::AT_EnableTrig
                    | alter::AT_EnableAlwaysTrig
                    | alter::AT_EnableReplicaTrig
                    | alter::AT_DisableTrig
                    | alter::AT_EnableTrigAll
                    | alter::AT_DisableTrigAll
                    | alter::AT_EnableTrigUser
                    | alter::AT_DisableTrigUser => found.triggers = true,
                    _ => {}
                }
                found.actions.push(action(&*command));
            }
        }
        found
    }
}

/// What a statement does to the members of this extension.
///
/// # Safety
/// `stmt` is a valid parse tree.
unsafe fn membership(stmt: &pg_sys::AlterExtensionContentsStmt) -> Statement {
    use pg_sys::ObjectType::{OBJECT_AGGREGATE, OBJECT_FUNCTION, OBJECT_PROCEDURE, OBJECT_ROUTINE};
    // SAFETY: the caller's promise: a name, and a node whose tag says what it is.
    unsafe {
        if text(stmt.extname).as_deref() != Some("pg_ward") {
            return Statement::default();
        }
        let name = match stmt.object.as_ref().map(|node| node.type_) {
            Some(pg_sys::NodeTag::T_ObjectWithArgs) => {
                dotted((*stmt.object.cast::<pg_sys::ObjectWithArgs>()).objname)
            }
            Some(pg_sys::NodeTag::T_List) => dotted(stmt.object.cast()),
            Some(pg_sys::NodeTag::T_String) => string(stmt.object),
            _ => None,
        };
        Statement {
            relevant: true,
            membership: Some(Membership {
                what: if stmt.action > 0 { "ADD" } else { "DROP" },
                function: matches!(
                    stmt.objtype,
                    OBJECT_AGGREGATE | OBJECT_FUNCTION | OBJECT_PROCEDURE | OBJECT_ROUTINE
                ),
                name,
            }),
            ..Statement::default()
        }
    }
}

/// The parts of a name, with dots between them.
///
/// # Safety
/// `list` is NULL or a list of nodes.
unsafe fn dotted(list: *mut pg_sys::List) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe {
        let list = list.as_ref()?;
        let parts: Option<Vec<String>> = (0..list.length as usize)
            .map(|at| string((*list.elements.add(at)).ptr_value.cast()))
            .collect();
        Some(parts?.join("."))
    }
}

/// # Safety
/// `node` is NULL or a node.
unsafe fn string(node: *mut pg_sys::Node) -> Option<String> {
    // SAFETY: the caller's promise; the tag says what the node is.
    unsafe {
        if node.as_ref()?.type_ != pg_sys::NodeTag::T_String {
            return None;
        }
        text((*node.cast::<pg_sys::String>()).sval)
    }
}

/// Whether a command for this table is one for what inherits from it, too.
///
/// # Safety
/// `range` is NULL or a table's name in a parse tree.
unsafe fn inherits(range: *mut pg_sys::RangeVar) -> bool {
    // SAFETY: the caller's promise.
    unsafe { range.as_ref().is_some_and(|range| range.inh) }
}

/// # Safety
/// `command` is a command of an ALTER TABLE.
unsafe fn action(command: &pg_sys::AlterTableCmd) -> Action {
    // SAFETY: names are NULL or C strings; `def` is NULL or a node, whose tag says what it is.
    let name = unsafe {
        let def = command.def;
        if !command.name.is_null() {
            text(command.name)
        } else if def.is_null() {
            None
        } else {
            match (*def).type_ {
                pg_sys::NodeTag::T_ColumnDef => text((*def.cast::<pg_sys::ColumnDef>()).colname),
                pg_sys::NodeTag::T_Constraint => text((*def.cast::<pg_sys::Constraint>()).conname),
                pg_sys::NodeTag::T_PartitionCmd => {
                    range((*def.cast::<pg_sys::PartitionCmd>()).name)
                }
                pg_sys::NodeTag::T_RangeVar => range(def.cast()),
                _ => None,
            }
        }
    };
    Action {
        what: what(command.subtype),
        name,
        to: None,
    }
}

/// The words of an action. Those that are missing here are rare and say nothing about what is recorded.
fn what(subtype: pg_sys::AlterTableType::Type) -> &'static str {
    use pg_sys::AlterTableType as alter;
    match subtype {
        alter::AT_AddColumn => "ADD COLUMN",
        alter::AT_DropColumn => "DROP COLUMN",
        alter::AT_AlterColumnType => "ALTER COLUMN TYPE",
        alter::AT_ColumnDefault => "ALTER COLUMN DEFAULT",
        alter::AT_DropNotNull => "DROP NOT NULL",
        alter::AT_SetNotNull => "SET NOT NULL",
        alter::AT_DropExpression => "DROP EXPRESSION",
        alter::AT_AddIdentity => "ADD IDENTITY",
        alter::AT_SetIdentity => "SET IDENTITY",
        alter::AT_DropIdentity => "DROP IDENTITY",
        alter::AT_SetStorage => "SET STORAGE",
        alter::AT_SetCompression => "SET COMPRESSION",
        alter::AT_AddConstraint => "ADD CONSTRAINT",
        alter::AT_AlterConstraint => "ALTER CONSTRAINT",
        alter::AT_ValidateConstraint => "VALIDATE CONSTRAINT",
        alter::AT_DropConstraint => "DROP CONSTRAINT",
        alter::AT_ChangeOwner => "OWNER TO",
        alter::AT_SetLogged => "SET LOGGED",
        alter::AT_SetUnLogged => "SET UNLOGGED",
        alter::AT_SetAccessMethod => "SET ACCESS METHOD",
        alter::AT_SetTableSpace => "SET TABLESPACE",
        alter::AT_EnableTrig => "ENABLE TRIGGER",
        alter::AT_EnableAlwaysTrig => "ENABLE ALWAYS TRIGGER",
        alter::AT_EnableReplicaTrig => "ENABLE REPLICA TRIGGER",
        alter::AT_DisableTrig => "DISABLE TRIGGER",
        alter::AT_EnableTrigAll => "ENABLE TRIGGER ALL",
        alter::AT_DisableTrigAll => "DISABLE TRIGGER ALL",
        alter::AT_EnableTrigUser => "ENABLE TRIGGER USER",
        alter::AT_DisableTrigUser => "DISABLE TRIGGER USER",
        alter::AT_EnableRule => "ENABLE RULE",
        alter::AT_EnableAlwaysRule => "ENABLE ALWAYS RULE",
        alter::AT_EnableReplicaRule => "ENABLE REPLICA RULE",
        alter::AT_DisableRule => "DISABLE RULE",
        alter::AT_AddInherit => "INHERIT",
        alter::AT_DropInherit => "NO INHERIT",
        alter::AT_AddOf => "OF",
        alter::AT_DropOf => "NOT OF",
        alter::AT_ReplicaIdentity => "REPLICA IDENTITY",
        alter::AT_EnableRowSecurity => "ENABLE ROW LEVEL SECURITY",
        alter::AT_DisableRowSecurity => "DISABLE ROW LEVEL SECURITY",
        alter::AT_ForceRowSecurity => "FORCE ROW LEVEL SECURITY",
        alter::AT_NoForceRowSecurity => "NO FORCE ROW LEVEL SECURITY",
        alter::AT_AttachPartition => "ATTACH PARTITION",
        alter::AT_DetachPartition => "DETACH PARTITION",
        alter::AT_DetachPartitionFinalize => "DETACH PARTITION FINALIZE",
        _ => "OTHER",
    }
}

/// # Safety
/// `range` is NULL or a table's name in a parse tree.
unsafe fn range(range: *mut pg_sys::RangeVar) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe {
        if range.is_null() {
            None
        } else {
            text((*range).relname)
        }
    }
}

/// # Safety
/// `name` is NULL or a C string.
unsafe fn text(name: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    (!name.is_null()).then(|| encoding::to_utf8(unsafe { CStr::from_ptr(name) }))
}
