"""Time series: windows of steps, of one or several channels."""
