-- XML in the trail. A server that was built without libxml has the type, but takes no value (audit_xml_1.out).
CREATE TABLE xml_values (id int PRIMARY KEY, x xml);
SELECT ward.enable_audit('xml_values');
INSERT INTO xml_values VALUES (1, NULL);
SET xmlbinary = 'hex';
INSERT INTO xml_values VALUES (2, '<a b="c">d &amp; e</a>');
SELECT record_id, new_values FROM ward.audit_trail WHERE table_name = 'xml_values' ORDER BY record_id;
DROP TABLE xml_values;
