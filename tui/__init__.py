"""The terminal app: watches the runs of a folder. It only reads run directories, and never loads torch."""
