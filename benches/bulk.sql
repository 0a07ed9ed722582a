-- 100,000 rows in one INSERT, then in one UPDATE, of one variant.
\set ON_ERROR_STOP 1
SELECT :'variant' = 'ward' AS ward \gset
CALL fresh(:'variant');
SELECT fill(:'variant', 100000) AS fill \gset
CALL measure('insert', :'variant', :'fill');
\if :ward
SELECT ward.seal_audit_trail(); -- so that the worker is idle while the next one runs
\endif
SELECT 'UPDATE rows_' || :'variant' || ' SET amount = amount + 1, changed_at = now()' AS update \gset
CALL measure('update', :'variant', :'update');
\if :ward
SELECT ward.seal_audit_trail();
\endif
