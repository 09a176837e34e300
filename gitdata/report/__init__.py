"""Report: what people see of the records that commands return."""
